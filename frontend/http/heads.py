"""Heads as bytes: status lines, request lines, header lines, the date. No I/O.

Framing headers are never taken from a caller: what a message's length is, and whether a connection lives on,
is decided where it is written (RFC 9112, sections 6 and 9).
"""

import time
from collections.abc import Mapping
from email.utils import formatdate
from http import HTTPStatus
from typing import Final

from epp.core.outcomes import HeaderPairs
from frontend.http.api import CONNECTION_HEADERS

_RESPONSE_OWN: Final = CONNECTION_HEADERS | {"content-length", "date"}
_REQUEST_OWN: Final = CONNECTION_HEADERS | {"content-length", "expect", "host"}
_STATUS_LINES: Final = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n"
    for status in HTTPStatus
    if status >= HTTPStatus.OK
}
_WITH_BODY: Final = frozenset(("POST", "PUT", "PATCH"))
_FIRST_STATUS: Final = 200
_LAST_STATUS: Final = 999

_SET_COOKIE: Final = "set-cookie"
_NO_LISTS: Final = frozenset(("authorization", "content-type", "traceparent", "x-api-key", "x-request-id"))

CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
LAST_CHUNK: Final = b"0\r\n\r\n"


class HeadError(ValueError):
    """A head that cannot be written: a line break within a value, a status that is none."""


class Dates:
    """The ``date`` header line, made once a second."""

    __slots__ = ("_line", "_second")

    def __init__(self) -> None:
        self._second = -1
        self._line = ""

    def line(self) -> str:
        """With its line end (RFC 9110, section 6.6.1)."""
        second = int(time.time())
        if second != self._second:
            self._second = second
            self._line = f"date: {formatdate(second, usegmt=True)}\r\n"
        return self._line


def response_head(status: int, headers: HeaderPairs, framing: str, date_line: str) -> bytes:
    """``framing``: the lines that say how long the body is and whether the connection goes on.

    Raises HeadError.
    """
    line = _STATUS_LINES.get(status) or _unusual_status(status)
    lines = [f"{name}: {value}\r\n" for name, value in headers if name.lower() not in _RESPONSE_OWN]
    return _encode(line + date_line + framing, lines)


def request_head(method: str, target: str, host: str, headers: HeaderPairs, body_bytes: int) -> bytes:
    """Raises HeadError."""
    if " " in target:
        raise HeadError("a blank in a request target")
    lines = [f"{method} {target} HTTP/1.1\r\n", f"host: {host}\r\n"]
    if body_bytes or method in _WITH_BODY:
        lines.append(f"content-length: {body_bytes}\r\n")
    lines += [f"{name}: {value}\r\n" for name, value in headers if name.lower() not in _REQUEST_OWN]
    return _encode("", lines)


def joined_in_request(name: str, first: str, second: str) -> str:
    """The values of a header that came twice, as one (RFC 9110, section 5.3); ``name`` in lower case. Of
    headers that are no lists the last one counts."""
    if name in _NO_LISTS:
        return second
    return f"{first}; {second}" if name == "cookie" else f"{first}, {second}"


def joined_in_response(name: str, first: str, second: str) -> str:
    """The same for responses. Cookies that are set cannot be joined by commas (RFC 6265, section 3): a line
    feed, which no value holds, parts them until :func:`lines_of`."""
    return f"{first}\n{second}" if name == _SET_COOKIE else f"{first}, {second}"


def lines_of(headers: Mapping[str, str]) -> HeaderPairs:
    """A response's headers as lines to be sent."""
    if _SET_COOKIE not in headers:
        return tuple(headers.items())
    return tuple((name, one) for name, value in headers.items() for one in value.split("\n"))


def content_length(headers: HeaderPairs) -> int | None:
    """The length a caller promises. Raises HeadError for what is none."""
    for name, value in headers:
        if name.lower() == "content-length":
            if not (value.isascii() and value.isdigit()):
                raise HeadError(f"no content-length: {value!r}")
            return int(value)
    return None


def _encode(trusted: str, lines: list[str]) -> bytes:
    text = "".join(lines)
    # every line brings one line end of ours; one more of either half came from a caller
    if text.count("\n") != len(lines) or text.count("\r") != len(lines) or "\0" in text:
        raise HeadError("a line break within a header")
    try:
        return f"{trusted}{text}\r\n".encode("latin-1")
    except UnicodeEncodeError as error:
        raise HeadError(f"a header outside latin-1: {error.object!r}") from error


def _unusual_status(status: int) -> str:
    if not _FIRST_STATUS <= status <= _LAST_STATUS:
        raise HeadError(f"no final status: {status}")
    return f"HTTP/1.1 {status} \r\n"
