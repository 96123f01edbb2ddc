"""Status codes of the C core, and the one place where they become exceptions."""

from enum import IntEnum

from cabi._native import ffi, lib


class Status(IntEnum):
    """``epp_status``: below 100 errors, from 100 answers of a selection."""

    OK = 0
    ARGUMENT = 10
    MEMORY = 20
    CAPACITY = 21
    BUFFER = 22
    UNKNOWN = 30
    DUPLICATE = 31
    FORMAT = 40
    VERSION = 41
    CHECKSUM = 42
    NO_WORKERS = 100
    NO_CANDIDATES = 101
    UNKNOWN_PIN = 102
    RANK_OUT_OF_RANGE = 103
    OVERLOADED = 104


class CoreError(Exception):
    """A call of the core failed."""

    def __init__(self, status: Status) -> None:
        super().__init__(status_name(status))
        self.status = status


class ArgumentError(CoreError, ValueError):
    """An argument is outside its stated range."""


class OutOfMemoryError(CoreError, MemoryError):
    """The allocator had no room; nothing changed."""


class BoundError(CoreError):
    """A bound of the router's options is reached."""


class UnknownBookingError(CoreError, KeyError):
    """No booking has this id."""

    __str__ = CoreError.__str__


class DuplicateBookingError(CoreError, ValueError):
    """The booking id is taken."""


class SnapshotError(CoreError, ValueError):
    """Bytes that are not a snapshot this library can read."""


_ERRORS: dict[Status, type[CoreError]] = {
    Status.ARGUMENT: ArgumentError,
    Status.MEMORY: OutOfMemoryError,
    Status.CAPACITY: BoundError,
    Status.UNKNOWN: UnknownBookingError,
    Status.DUPLICATE: DuplicateBookingError,
    Status.FORMAT: SnapshotError,
    Status.VERSION: SnapshotError,
    Status.CHECKSUM: SnapshotError,
}


def status_name(status: int) -> str:
    """The name the library gives a status."""
    return bytes(ffi.string(lib.epp_status_name(status))).decode()


def check(status: int) -> None:
    """Raise the exception of an error; statuses that are answers must not come here."""
    if status == Status.OK:
        return
    known = Status(status)
    raise _ERRORS.get(known, CoreError)(known)
