"""Errors as bodies: one shape for OpenAI's clients, one for Anthropic's, whole or as an event of a stream."""

from typing import Any, Final

import msgspec

from epp.core.outcomes import HeaderPairs
from epp.core.requests import Api
from frontend.errors import CLIENT_GONE_STATUS, OVERLOAD, OVERLOADED_STATUS, ApiError, error_value
from frontend.http.api import Reply, whole
from frontend.sse import DONE, event
from frontend.translate.errors import anthropic_error

JSON: Final[HeaderPairs] = (("content-type", "application/json"),)

_ANTHROPIC: Final = frozenset({Api.MESSAGES, Api.COUNT_TOKENS})
_CAUSES: Final = {
    404: "not_found",
    405: "not_found",
    429: OVERLOAD,
    OVERLOADED_STATUS: OVERLOAD,
    501: "not_implemented",
    503: "unavailable",
    504: "response_timeout",
    CLIENT_GONE_STATUS: "cancelled",
}


def value_of(error: ApiError, api: Api | None = None) -> dict[str, Any]:
    """The body of an error, in the form clients of ``api`` read."""
    if api in _ANTHROPIC:
        return anthropic_error(error.status, error.message)
    return error_value(error.status, error.message, error.type)


def answer(reply: Reply, error: ApiError, api: Api | None = None) -> None:
    """Send an error whole."""
    whole(reply, error.status, (*JSON, *error.headers), msgspec.json.encode(value_of(error, api)))


def last_events(error: ApiError, api: Api) -> bytes:
    """What a stream that cannot go on ends with: an event its client raises as an error."""
    body = msgspec.json.encode(value_of(error, api))
    if api in _ANTHROPIC or api is Api.RESPONSES:
        return event(body, "error")
    return event(body) + DONE


def cause_of(status: int, error: ApiError | None = None) -> str:
    """The metric label ``error_type``; empty: a success."""
    if error is not None and error.cause:
        return error.cause
    if status < 400:
        return ""
    return _CAUSES.get(status) or ("validation" if status < 500 else "internal")
