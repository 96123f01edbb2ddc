"""A worker's 404: no such model in the engine's words, or no such endpoint in its framework's, which name
nothing and read as if the model were unknown."""

from typing import Final

import msgspec

from frontend.errors import error_value
from frontend.http.api import Reply, UpstreamResponse, whole
from frontend.pipeline.call import Call, Route
from frontend.relay.hops import answer_headers

NOT_FOUND: Final = 404
_MAX_BYTES: Final = 64 * 1024
_FASTAPIS: Final = b'{"detail":"Not Found"}'
_FRAMED: Final = frozenset({"content-length"})


async def tell_not_found(call: Call, route: Route, response: UpstreamResponse, reply: Reply) -> None:
    """Answer with it: an engine's as it is, a framework's as what it means. Raises UpstreamError."""
    said = await response.read(_MAX_BYTES)
    headers = answer_headers(response.headers, route.response_headers)
    if "json" in response.headers.get("content-type", "") and said.strip() != _FASTAPIS:
        whole(reply, NOT_FOUND, tuple(pair for pair in headers if pair[0] not in _FRAMED), said)
        return
    message = f"The worker of model `{call.model[:256]}` has no endpoint {call.path}."
    told = msgspec.json.encode(error_value(NOT_FOUND, message))
    whole(reply, NOT_FOUND, (("content-type", "application/json"), *route.response_headers), told)
