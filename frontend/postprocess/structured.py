"""Constraints on an answer (``response_format``, ``structured_outputs``, ``guided_*`` …) and engines' forms.

The neutral form is vLLM's ``StructuredOutputsParams``: one of ``json``, ``json_object``, ``regex``,
``choice``, ``grammar``, ``structural_tag``.
"""

import json
import re
from typing import Any, Final, TypeAlias

from frontend.body import Body
from frontend.errors import bad_request

JsonDict: TypeAlias = dict[str, Any]
KINDS: Final = ("json", "json_object", "regex", "choice", "grammar", "structural_tag")
_NAMES: Final = {
    **{f"guided_{kind}": kind for kind in ("json", "regex", "choice", "grammar")},
    "json_schema": "json",
    "regex": "regex",
    "ebnf": "grammar",
}
"""Fields at the top of a body: vLLM's, then SGLang's."""
_ANY_OBJECT: Final[JsonDict] = {"type": "object"}


def read_constraint(body: Body) -> JsonDict | None:
    """The one constraint of a body. Raises ApiError (400) for several, or one of an unknown kind."""
    given = body.get("structured_outputs", dict[str, Any]) or {}
    unknown = [name for name in given if name not in KINDS]
    if unknown:
        raise bad_request(f"`structured_outputs.{unknown[0]}` is not supported with frontend postprocessing.")
    found = {name: value for name, value in given.items() if value is not None}
    for name, kind in _NAMES.items():
        value = body.get(name, object)
        if value is not None:
            found[kind] = value
    found |= _response_format(body)
    if len(found) > 1:
        raise bad_request(f"Only one constraint on the answer is possible, not {' and '.join(found)}.")
    return found or None


def _response_format(body: Body) -> JsonDict:
    asked = body.get("response_format", dict[str, Any])
    kind = asked.get("type") if asked else "text"
    if asked is None or kind == "text":
        return {}
    if kind == "json_object":
        return {"json_object": True}
    if kind == "json_schema":
        wrapper: Any = asked.get("json_schema")
        schema: Any = wrapper.get("schema") if isinstance(wrapper, dict) else None  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType] -- foreign JSON
        if schema is None:
            raise bad_request("`response_format.json_schema.schema` is missing.")
        return {"json": schema}
    if kind == "structural_tag":
        return {"structural_tag": json.dumps(asked)}
    raise bad_request(f"`response_format.type` `{kind}` is not known.")


def for_sglang(constraint: JsonDict) -> JsonDict:
    """Fields of SGLang's sampling parameters."""
    (kind, value), *_ = constraint.items()
    if kind in ("json", "json_object"):
        schema = value if kind == "json" else _ANY_OBJECT
        return {"json_schema": schema if isinstance(schema, str) else json.dumps(schema)}
    if kind == "choice":
        return {"regex": _alternatives(value)}
    return {{"grammar": "ebnf"}.get(kind, kind): value}


def for_trtllm(constraint: JsonDict) -> JsonDict:
    """``response_format`` of a TensorRT-LLM completion."""
    (kind, value), *_ = constraint.items()
    if kind == "json_object":
        return {"type": "json_object"}
    if kind == "json":
        return {"type": "json", "schema": json.loads(value) if isinstance(value, str) else value}
    if kind == "choice":
        return {"type": "regex", "regex": _alternatives(value)}
    if kind == "structural_tag":
        raise bad_request("Structural tags are not supported with TensorRT-LLM workers.")
    return {"regex": {"type": "regex", "regex": value}, "grammar": {"type": "ebnf", "ebnf": value}}[kind]


def _alternatives(choices: Any) -> str:
    if not isinstance(choices, list) or not choices:
        raise bad_request("A `choice` constraint must be a list of texts.")
    return "|".join(f"({re.escape(str(choice))})" for choice in choices)  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType] -- foreign JSON
