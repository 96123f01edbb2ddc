"""Errors a client sees, as values with a status; the app turns them into bodies, once."""

from http import HTTPStatus
from typing import Any, Final

from epp.core.outcomes import HeaderPairs

OVERLOADED_STATUS: Final = 529
"""Not registered by IANA; what the reference frontend answers when every worker is busy."""

CLIENT_GONE_STATUS: Final = 499
"""Nobody reads it: the status under which a request whose client left is counted and logged."""
OVERLOAD: Final = "overload"
"""The ``cause`` that says: everybody is busy, and may not be in a moment."""


class ApiError(Exception):
    """An answer with an error status, raised anywhere below the app before the answer has begun.

    After it has begun the app ends a stream with an error event instead.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        type_: str | None = None,
        headers: HeaderPairs = (),
        cause: str = "",
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        """One sentence for the client, free of anything internal."""
        self.type = type_ or _reason(status)
        """``type`` of the body: the reason phrase, unless a more telling word is known."""
        self.headers = headers
        """For example ``retry-after``."""
        self.cause = cause
        """Metric label ``error_type``; empty: derived from the status."""


def error_value(status: int, message: str, type_: str | None = None) -> dict[str, Any]:
    """The body of an error.

    ``message``, ``type`` and ``code`` stand at the top, as Dynamo's frontend writes them, and once more in
    ``error``, where OpenAI's and most other clients look for them.
    """
    told = {"message": message, "type": type_ or _reason(status), "code": status}
    return {**told, "error": {**told, "param": None}}


def bad_request(message: str) -> ApiError:
    """400: the client has to change its request."""
    return ApiError(400, message)


def not_found(message: str) -> ApiError:
    """404."""
    return ApiError(404, message)


def unavailable(message: str) -> ApiError:
    """503: nobody can serve this now."""
    return ApiError(503, message)


def _reason(status: int) -> str:
    if status == OVERLOADED_STATUS:
        return "Overloaded"
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"
