"""A whole answer in the form the client asked for: as it is, or as the stream it would have been."""

from typing import Any, cast

import msgspec

from epp.core.requests import Api
from frontend import sse
from frontend.body import Body
from frontend.http.api import Reply, whole
from frontend.pipeline.call import Call

_JSON = (("content-type", "application/json"),)
_STREAM = (("content-type", "text/event-stream; charset=utf-8"), ("cache-control", "no-cache"))
_MOVED = ("choices", "usage")


class _StreamOptions(msgspec.Struct, frozen=True):
    include_usage: bool = False


def answer(call: Call, reply: Reply, body: Body) -> None:
    """Answer ``call`` with an engine's whole answer."""
    more = call.route.response_headers if call.route is not None else ()
    if not call.body.get("stream", bool):
        whole(reply, 200, _JSON + more, body.encode())
        return
    reply.start(200, _STREAM + more)
    for chunk in chunks(call.api, body, include_usage=_include_usage(call.body)):
        reply.data(sse.event(chunk))
    reply.data(sse.DONE)
    reply.end()


def chunks(api: Api, body: Body, *, include_usage: bool) -> list[bytes]:
    """The events that say the same as ``body``, without the end marker."""
    base: dict[str, Any] = {name: msgspec.Raw(body.raw(name) or b"null") for name in body.names()}
    usage = base.get("usage")
    base = {name: value for name, value in base.items() if name not in _MOVED}
    if api is Api.CHAT:
        base["object"] = "chat.completion.chunk"
    choices = body.get("choices", list[dict[str, Any]]) or []
    found = [base | {"choices": [_delta(choice) if api is Api.CHAT else choice for choice in choices]}]
    if include_usage and usage is not None:
        found.append(base | {"choices": [], "usage": usage})
    return [msgspec.json.encode(chunk) for chunk in found]


def _include_usage(body: Body) -> bool:
    options = body.get("stream_options", _StreamOptions)
    return options is not None and options.include_usage


def _delta(choice: dict[str, Any]) -> dict[str, Any]:
    """A message as one delta; what has not the form of a message is left out."""
    rest = {name: value for name, value in choice.items() if name != "message"}
    delta = {name: value for name, value in _object(choice.get("message")).items() if value is not None}
    calls = delta.get("tool_calls")
    if isinstance(calls, list):
        items = cast("list[object]", calls)
        delta["tool_calls"] = [{"index": index, **_object(item)} for index, item in enumerate(items)]
    return rest | {"delta": delta}


def _object(value: object) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}
