"""``/openapi.json``, made from the table of routes, and ``/docs``, which shows it without anything from
elsewhere: no script, style or font is loaded from another host, so it works in a closed network."""

import html
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

_ERROR: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["message", "type", "code"],
    "properties": {
        "message": {"type": "string"},
        "type": {"type": "string"},
        "code": {"type": "integer"},
        "error": {"type": "object"},
    },
}
_INFERENCE_STATUSES: Final = {
    "200": "The answer; a stream of server-sent events with `stream: true`.",
    "400": "The request has to be changed; `message` says how.",
    "404": "No such model.",
    "413": "The body is too large.",
    "415": "The body is no JSON.",
    "501": "A parameter that is not supported.",
    "503": "The model's workers are not there.",
    "529": "Every worker is busy; `Retry-After` says when to come back.",
}
_PAGE_STATUSES: Final = {"200": "The page."}
_WRONG: Final = {"400": "The request has to be changed; `message` says how."}
_ABSENT: Final = {"404": "No such model."}


@dataclass(frozen=True, slots=True)
class Operation:
    """One method on one path."""

    path: str
    method: str
    name: str
    summary: str
    inference: bool
    required: tuple[str, ...] = ()
    """Body fields that must be there."""
    fields: frozenset[str] | None = None
    """Body fields taken; None: any."""


def document(operations: Iterable[Operation], version: str) -> dict[str, Any]:
    """The OpenAPI 3.1 description."""
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Inference frontend", "version": version},
        "paths": dict(sorted(paths.items(), key=lambda item: (not item[0].startswith("/v1/"), item[0]))),
        "components": {"schemas": {"Error": _ERROR}},
    }


def docs_page(described: dict[str, Any]) -> str:
    """The description as one HTML page."""
    rows = "".join(
        _row(path, method, operation)
        for path, methods in described["paths"].items()
        for method, operation in methods.items()
    )
    title = html.escape(f"{described['info']['title']} {described['info']['version']}")
    return _PAGE.format(title=title, rows=rows)


def _operation(operation: Operation) -> dict[str, Any]:
    statuses = _INFERENCE_STATUSES if operation.inference else _page_statuses(operation)
    described: dict[str, Any] = {
        "operationId": f"{operation.method.lower()}_{operation.path.strip('/')}".translate(_ID),
        "summary": operation.summary,
        "tags": ["inference" if operation.inference else "frontend"],
        "responses": {status: _response(status, text) for status, text in statuses.items()},
    }
    if "{model}" in operation.path:
        described["parameters"] = [
            {"name": "model", "in": "path", "required": True, "schema": {"type": "string"}}
        ]
    if operation.method == "POST":
        described["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": _schema(operation)}},
        }
    return described


def _page_statuses(operation: Operation) -> dict[str, str]:
    wrong = _WRONG if operation.method == "POST" else {}
    absent = _ABSENT if "{model}" in operation.path or operation.method == "POST" else {}
    return {**_PAGE_STATUSES, **wrong, **absent}


def _schema(operation: Operation) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "object", "required": list(operation.required)}
    if operation.fields is not None:
        schema["properties"] = {name: {} for name in sorted(operation.fields)}
        schema["additionalProperties"] = False
    return schema


def _response(status: str, text: str) -> dict[str, Any]:
    if status < "400":
        return {"description": text}
    schema = {"$ref": "#/components/schemas/Error"}
    return {"description": text, "content": {"application/json": {"schema": schema}}}


def _row(path: str, method: str, operation: dict[str, Any]) -> str:
    statuses = "".join(
        f"<tr><td><code>{html.escape(status)}</code></td><td>{_text(response['description'])}</td></tr>"
        for status, response in operation["responses"].items()
    )
    return (
        f"<details><summary><b class='{method}'>{method.upper()}</b> <code>{html.escape(path)}</code>"
        f"<span>{html.escape(operation['summary'])}</span></summary>{_body(operation)}"
        f"<table>{statuses}</table></details>"
    )


def _text(marked: str) -> str:
    return _CODE.sub(r"<code>\1</code>", html.escape(marked))


def _body(operation: dict[str, Any]) -> str:
    if "requestBody" not in operation:
        return ""
    schema = operation["requestBody"]["content"]["application/json"]["schema"]
    required = frozenset(schema["required"])
    names = "".join(
        f"<li{' class=required' if name in required else ''}><code>{html.escape(name)}</code></li>"
        for name in sorted({*schema.get("properties", {}), *required}, key=lambda n: (n not in required, n))
    )
    return f"<p>JSON body; required fields in bold.</p><ul>{names}</ul>" if names else "<p>JSON body.</p>"


_CODE: Final = re.compile("`([^`]*)`")
_ID: Final = str.maketrans("/{}.-", "_____")
_PAGE: Final = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark }}
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }}
h1 {{ font-size: 1.4rem }}
details {{ border: 1px solid #8884; border-radius: 6px; margin: .4rem 0; padding: .4rem .8rem }}
summary {{ cursor: pointer; display: flex; gap: .8rem; align-items: baseline }}
summary span {{ margin-left: auto; opacity: .7 }}
b {{ font-size: .75rem; min-width: 3.2rem; text-align: center; border-radius: 4px }}
b {{ padding: .1rem .3rem; color: #fff }}
.get {{ background: #2b6cb0 }} .post {{ background: #2f855a }}
ul {{ columns: 3; padding-left: 1.2rem; font-size: .85rem }} .required {{ font-weight: bold }}
td {{ padding: .1rem .8rem .1rem 0; vertical-align: top }}
</style>
<h1>{title}</h1>
<p>The same as <a href="openapi.json">openapi.json</a>, to read.</p>
{rows}
</html>
"""
