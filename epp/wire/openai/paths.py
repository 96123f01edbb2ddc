"""Which API a path belongs to: the longest known suffix decides, any prefix is allowed.

Gateways mount engines under prefixes of their own (``/team-a/v1/…``, ``/v2/models/m/v1/…``), so only the
tail of a path can be relied on. A query string is ignored.
"""

from typing import Final

from epp.core.requests import Api

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
