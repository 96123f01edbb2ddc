"""Which API a path belongs to: the longest known suffix decides, any prefix is allowed.

Gateways mount engines under prefixes of their own (``/team-a/v1/…``, ``/v2/models/m/v1/…``), so only the
tail of a path can be relied on. A query string is ignored. NGINX Gateway Fabric tells no path at all (2.6.7,
``cmd/gateway/endpoint_picker.go`` sends headers without pseudo-headers); there the body's fields decide.
"""

from typing import Final

import msgspec

from epp.core.requests import Api
from epp.wire.openai.decoding import decode

_SUFFIXES: Final = {
    "/chat/completions": Api.CHAT,
    "/completions": Api.COMPLETIONS,
    "/embeddings": Api.EMBEDDINGS,
    "/responses": Api.RESPONSES,
    "/v1/messages": Api.MESSAGES,
    "/v1/messages/count_tokens": Api.COUNT_TOKENS,
    "/tokenize": Api.TOKENIZE,
    "/inference/v1/generate": Api.VLLM_GENERATE,
    "/generate": Api.SGLANG_GENERATE,
}
"""``/v1`` is asked for where the bare word is another API elsewhere (``/v1/threads/x/messages``)."""

_LONGEST_FIRST: Final = tuple(sorted(_SUFFIXES.items(), key=lambda item: -len(item[0])))


def api_of(path: str) -> Api:
    """The API of a request path; ``OTHER`` for one nobody here understands."""
    bare = path.partition("?")[0]
    for suffix, api in _LONGEST_FIRST:
        if bare.endswith(suffix):
            return api
    return Api.OTHER


class _Shape(msgspec.Struct):
    messages: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    prompt: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


_SHAPE: Final = msgspec.json.Decoder(_Shape)


def api_of_body(body: bytes) -> Api:
    """The API a body must be meant for when nobody tells the path: one that has ``messages`` or a ``prompt``,
    else ``OTHER``. Raises BadRequestError for a body that is no JSON object."""
    shape = decode(_SHAPE, body)
    if shape.messages is not msgspec.UNSET:
        return Api.CHAT
    return Api.OTHER if shape.prompt is msgspec.UNSET else Api.COMPLETIONS
