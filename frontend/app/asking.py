"""A request as the pipeline takes it: read, checked, its ``nvext`` understood."""

import uuid
from typing import Final
from urllib.parse import parse_qs

import msgspec

from frontend.app.routes import Inference
from frontend.body import Body
from frontend.errors import ApiError, bad_request
from frontend.http.api import Request
from frontend.outgoing import REQUEST_ID
from frontend.pipeline.call import Call
from frontend.serving.checks import check
from frontend.serving.nvext_read import read_nvext

_JSON: Final = "application/json"
_VARIABLES: Final = "chat_template_kwargs"
_DYNAMOS_VARIABLES: Final = "chat_template_args"


def call_of(request: Request, endpoint: Inference, *, nvext: bool) -> Call:
    """The request as a call of ``endpoint``. Raises ApiError (400, 415, 501)."""
    body = _body(request, endpoint)
    check(body, endpoint.rules, nvext=nvext)
    body = _template_variables_named(body)
    request_id = request.headers.get(REQUEST_ID) or str(uuid.uuid4())
    return Call(
        api=endpoint.api,
        path=endpoint.worker_path,
        headers=request.headers,
        body=body,
        request_id=request_id,
        arrived_s=request.received_s,
        model=body.get("model", str) or "",
        stream=endpoint.streams or bool(body.get("stream", bool)),
        nvext=read_nvext(body),
        arrived_ms=request.wall_ms,
        forward_headers={REQUEST_ID: request_id},
    )


def questioned(request: Request, by_path: dict[str, Inference]) -> tuple[Inference, bool]:
    """What ``POST /v1/route`` asks about, and whether with an explanation: ``?path=`` names the endpoint a
    body is meant for (chat, or completions for a body with ``prompt``), ``?explain=true`` asks for every
    candidate's terms. Raises ApiError (400)."""
    query = {name: values[-1] for name, values in parse_qs(request.query).items()}
    path = query.get("path")
    if path is None:
        body = Body(request.body)
        path = "/v1/completions" if "prompt" in body and "messages" not in body else "/v1/chat/completions"
    endpoint = by_path.get(path)
    if endpoint is None:
        raise bad_request(f"`path` must be one of {', '.join(sorted(by_path))}")
    return endpoint, query.get("explain", "") in ("1", "true")


def _template_variables_named(body: Body) -> Body:
    """Dynamo's name for the variables of chat templates is one that engines do not know."""
    if _DYNAMOS_VARIABLES not in body:
        return body
    if _VARIABLES in body:
        raise bad_request(f"`{_DYNAMOS_VARIABLES}` and `{_VARIABLES}` are one field: give one of them.")
    given = msgspec.Raw(body.raw(_DYNAMOS_VARIABLES) or b"null")
    return body.replace(**{_DYNAMOS_VARIABLES: msgspec.UNSET, _VARIABLES: given})


def _body(request: Request, endpoint: Inference) -> Body:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == _JSON or (kind.startswith("application/") and kind.endswith("+json")):
        return Body(request.body)
    if endpoint.any_type and kind:
        return Body.opaque(request.body)
    raise ApiError(415, f"Expected request with Content-Type {_JSON}")
