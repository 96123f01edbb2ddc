"""Core answers as ext_proc messages, written straight as bytes.

Format: ``envoy.service.ext_proc.v3.ProcessingResponse``, protobuf encoding. Written by hand because an answer
is a handful of nested length-delimited fields, most of them the same for every request: constants are
built once, the two forms of a destination once per endpoint, and a body piece is copied once. The
tests read every form back with the generated messages.
"""

from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any, Final

from epp.core.events import (
    Answer,
    AnswerBody,
    AnswerHeaders,
    AnswerTrailers,
    Immediate,
    Modes,
    Side,
    Steering,
    StreamBody,
)
from epp.core.headers import DESTINATION, LB_NAMESPACE

# Field numbers of ProcessingResponse; per side: headers, body, trailers.
_HEADERS: Final = {Side.REQUEST: 1, Side.RESPONSE: 2}
_BODY: Final = {Side.REQUEST: 3, Side.RESPONSE: 4}
_TRAILERS: Final = {Side.REQUEST: 5, Side.RESPONSE: 6}
_IMMEDIATE: Final = 7
_DYNAMIC_METADATA: Final = 8
_MODE_OVERRIDE: Final = 9

_CLEAR_ROUTE_CACHE: Final = b"\x28\x01"  # CommonResponse field 5 = true
_OVERWRITE_OR_ADD: Final = b"\x18\x02"  # HeaderValueOption field 3 = OVERWRITE_IF_EXISTS_OR_ADD
_END_OF_STREAM: Final = b"\x10\x01"  # StreamedBodyResponse field 2 = true
_SEND: Final = b"\x01"  # ProcessingMode.HeaderSendMode
_CACHED_PREFIXES: Final = 1024
"""Encoded starts of body pieces kept; all pieces but the last of a body are of one length."""
_CACHED_ENDPOINTS: Final = 8192
"""Encoded destinations kept; a pool is smaller, and a longer list only costs the encoding again."""


def write_answer(answer: Answer) -> bytes:
    """One serialized ``ProcessingResponse``."""
    return _WRITERS[type(answer)](answer)


# --- protobuf encoding ------------------------------------------------------------------------------------


def _varint(number: int) -> bytes:
    if number < 1 << 14:
        return bytes((number & 0x7F | 0x80, number >> 7)) if number > 0x7F else bytes((number,))
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


_LENGTHS: Final = tuple(_varint(n) for n in range(256))


def _head(field: int, length: int) -> bytes:
    """Tag and length of a length-delimited field; ``field`` below 16 fits one byte."""
    return bytes((field << 3 | 2,)) + (_LENGTHS[length] if length < 256 else _varint(length))


def _field(field: int, *parts: bytes) -> bytes:
    content = parts[0] if len(parts) == 1 else b"".join(parts)
    return _head(field, len(content)) + content


# --- pieces -----------------------------------------------------------------------------------------------


def _set_header(name: str, value: str) -> bytes:
    """``HeaderMutation.set_headers``: the value as raw bytes, replacing any that is there."""
    header = _field(1, name.encode()) + _field(3, value.encode())
    return _field(1, _field(1, header), _OVERWRITE_OR_ADD)


def _metadata_entry(name: str, value: str) -> bytes:
    """One entry of a ``Struct``'s map, with a string value."""
    return _field(1, _field(1, name.encode()), _field(2, _field(3, value.encode())))


@lru_cache(maxsize=_CACHED_ENDPOINTS)
def _destination(destinations: tuple[str, ...]) -> tuple[bytes, bytes]:
    """The destination as a header mutation and as a metadata entry: always the same string."""
    value = ",".join(destinations)
    return _set_header(DESTINATION, value), _metadata_entry(DESTINATION, value)


@lru_cache(maxsize=_CACHED_ENDPOINTS)
def _plain_metadata(entry: bytes) -> bytes:
    return _wrap_metadata((entry,))


def _wrap_metadata(entries: Iterable[bytes]) -> bytes:
    """``dynamic_metadata`` with everything under ``envoy.lb``: a struct in a struct."""
    lb = _field(2, _field(5, *entries))
    return _field(_DYNAMIC_METADATA, _field(1, _field(1, LB_NAMESPACE.encode()), lb))


def _metadata(steering: Steering) -> bytes:
    entry = _destination(steering.destinations)[1]
    if not steering.metadata:
        return _plain_metadata(entry)
    return _wrap_metadata(
        [entry, *(_metadata_entry(*pair) for pair in steering.metadata if pair[0] != DESTINATION)]
    )


def _mutation(steering: Steering, *, drop_length: bool = False) -> bytes:
    """``CommonResponse`` fields of a steered head: header mutation and a cleared route cache."""
    parts = [_destination(steering.destinations)[0]]
    parts += [_set_header(name, value) for name, value in steering.set_headers]
    parts += [_field(2, name.encode()) for name in steering.remove_headers]
    if drop_length:
        parts.append(_REMOVE_LENGTH)
    return _field(2, *parts) + _CLEAR_ROUTE_CACHE


_REMOVE_LENGTH: Final = _field(2, b"content-length")  # HeaderMutation.remove_headers

# --- answers ----------------------------------------------------------------------------------------------


def _write_headers(answer: AnswerHeaders) -> bytes:
    field = _HEADERS[answer.side]
    if answer.steering is not None:
        return _field(field, _field(1, _mutation(answer.steering))) + _metadata(answer.steering)
    changes = [_set_header(name, value) for name, value in answer.set_headers]
    if answer.drops_length:
        changes.append(_REMOVE_LENGTH)
    head = _field(field, _field(1, _field(2, *changes))) if changes else _EMPTY[field]
    return head if answer.asks_bodies is None else head + _mode_override(answer.asks_bodies)


def _mode_override(modes: Modes) -> bytes:
    """A whole ``ProcessingMode``: what is left out of it would be off. With every head and trailer sent."""
    body_modes = b"\x18" + _varint(modes.request) + b"\x20" + _varint(modes.response)
    send = b"\x08" + _SEND + b"\x10" + _SEND
    return _field(_MODE_OVERRIDE, send, body_modes, b"\x28" + _SEND, b"\x30" + _SEND)


def _write_body(answer: AnswerBody) -> bytes:
    field = _BODY[answer.side]
    steering, replacement = answer.steering, answer.replacement
    if steering is None and replacement is None:
        return _EMPTY[field]
    # A gateway in BUFFERED mode answers 500 when the old content-length does not fit the new body.
    common = b"" if steering is None else _mutation(steering, drop_length=replacement is not None)
    if answer.drops_length and steering is None:
        common = _field(2, _REMOVE_LENGTH)
    if replacement is not None:
        common += _field(3, _field(1, replacement))
    return _field(field, _field(1, common)) + (_metadata(steering) if steering is not None else b"")


def _write_stream(answer: StreamBody) -> bytes:
    data = answer.data
    return b"".join((_stream_prefix(_BODY[answer.side], len(data), answer.end_of_stream), data))


@lru_cache(maxsize=_CACHED_PREFIXES)
def _stream_prefix(field: int, length: int, end_of_stream: bool) -> bytes:
    """Everything before the body, which is the last field, so that it is copied once."""
    prefix = (_END_OF_STREAM if end_of_stream else b"") + _head(1, length)
    for outer in (3, 3, 1, field):  # streamed_response, body_mutation, response, the side's body
        prefix = _head(outer, len(prefix) + length) + prefix
    return prefix


def _write_trailers(answer: AnswerTrailers) -> bytes:
    empty = _EMPTY[_TRAILERS[answer.side]]
    return empty if answer.steering is None else empty + _metadata(answer.steering)


def _write_immediate(answer: Immediate) -> bytes:
    status = _field(1, b"\x08" + _varint(answer.status))
    headers = _field(2, *(_set_header(name, value) for name, value in answer.headers))
    details = _field(5, ("epp_" + answer.reason.replace("-", "_")).encode())
    return _field(_IMMEDIATE, status, headers, _field(3, answer.body), details)


_EMPTY: Final = {
    field: _field(field, b"") for side in Side for field in (_HEADERS[side], _BODY[side], _TRAILERS[side])
}
"""Answers that change nothing, by field number."""

_WRITERS: Final[dict[type, Callable[[Any], bytes]]] = {
    AnswerHeaders: _write_headers,
    AnswerBody: _write_body,
    StreamBody: _write_stream,
    AnswerTrailers: _write_trailers,
    Immediate: _write_immediate,
}
