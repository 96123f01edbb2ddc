"""The answer a client gets when a request is refused: status, headers and an OpenAI-style error body."""

import json
from typing import Final

from epp.core.events import Immediate
from epp.core.headers import DROP_REASON, settable
from epp.core.outcomes import DropReason, Refused

_TYPES: Final = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
}
"""``error.type`` by status, as OpenAI's own answers name them; other statuses go by their class."""


def immediate(refused: Refused) -> Immediate:
    """The immediate response for a refusal; a status no gateway accepts becomes 500."""
    status = refused.status if 400 <= refused.status < 600 else 500
    error = {
        "message": refused.message,
        "type": _TYPES.get(status) or ("invalid_request_error" if status < 500 else "server_error"),
        "param": None,
        "code": str(refused.reason),
    }
    headers = (
        ("content-type", "application/json"),
        (DROP_REASON, str(refused.reason)),
        *settable(refused.headers),
    )
    body = json.dumps({"error": error}).encode()
    return Immediate(status=status, headers=headers, body=body, reason=str(refused.reason))


def too_large(max_body_bytes: int) -> Refused:
    """The request's body is longer than the picker holds."""
    return Refused(413, f"the request body is larger than {max_body_bytes} bytes", DropReason.TOO_LARGE)


def out_of_order() -> Refused:
    """The gateway's ext_proc filter is set up in a way, or speaks in an order, that cannot be served."""
    return Refused(
        503, "the gateway and its endpoint picker do not understand each other", DropReason.UNAVAILABLE
    )


def unsupported_mode(mode: str) -> Refused:
    """The gateway sends bodies in a form this picker does not speak."""
    return Refused(503, f"the endpoint picker does not support body mode {mode}", DropReason.UNAVAILABLE)
