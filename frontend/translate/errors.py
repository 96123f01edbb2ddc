"""Errors in Anthropic's form (https://docs.anthropic.com/en/api/errors)."""

from typing import Any, Final

from frontend.errors import OVERLOADED_STATUS

_TYPES: Final = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
    OVERLOADED_STATUS: "overloaded_error",
}


def anthropic_error(status: int, message: str) -> dict[str, Any]:
    """The body of an error answer, which is also the data of an ``error`` event."""
    kind = _TYPES.get(status) or ("api_error" if status >= 500 else "invalid_request_error")
    return {"type": "error", "error": {"type": kind, "message": message}}
