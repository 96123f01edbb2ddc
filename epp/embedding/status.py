"""The statuses of ``epp_request.h`` and the errors that carry them."""

from enum import IntEnum


class Status(IntEnum):
    """``epp_request_status``; numbers never change."""

    OK = 0
    ARGUMENT = 10
    MEMORY = 20
    CONFIG = 30
    PYTHON = 31
    CLOSED = 32
    DEADLINE = 33
    UNKNOWN = 34
    INTERNAL = 50
    NO_ENDPOINTS = 100
    SATURATED = 101
    REFUSED = 102


class CallError(Exception):
    """A call fails; its text is the sentence its caller gets."""

    def __init__(self, status: Status, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


def closed() -> CallError:
    """No open picker has the number."""
    return CallError(Status.CLOSED, "The picker is closed.")


def unknown_booking(booking: int) -> CallError:
    """No booking has the id."""
    return CallError(Status.UNKNOWN, f"No booking has the id {booking}: it ended or never was.")


def status_of(http_status: int) -> Status:
    """The answer of a pick that was refused with this HTTP status."""
    if http_status == 429:
        return Status.SATURATED
    return Status.NO_ENDPOINTS if http_status >= 500 else Status.REFUSED
