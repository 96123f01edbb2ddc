"""etcd's v3 API as JSON: requests to bytes, answers to records.

The form is that of etcd's gRPC gateway (``/v3/kv/range``, ``/v3/watch``, ``/v3/lease/...``): protobuf's JSON
mapping, in which 64-bit numbers are text, bytes are base64, and fields at their default are left out
(https://etcd.io/docs/v3.5/dev-guide/api_grpc_gateway/). Every reader is total: EtcdFormatError, or a record.
"""

from base64 import b64decode, b64encode
from typing import Annotated, Any, Final, TypeAlias, TypeVar

import msgspec

RANGE_PATH: Final = "/v3/kv/range"
WATCH_PATH: Final = "/v3/watch"
PUT_PATH: Final = "/v3/kv/put"
GRANT_PATH: Final = "/v3/lease/grant"
KEEP_ALIVE_PATH: Final = "/v3/lease/keepalive"
REVOKE_PATH: Final = "/v3/lease/revoke"

_Int64: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
T = TypeVar("T")


class EtcdFormatError(ValueError):
    """An answer that is not etcd's; the text says where."""


class EtcdError(Exception):
    """etcd answered, and refuses."""


class _Header(msgspec.Struct, frozen=True):
    cluster_id: str = ""
    revision: _Int64 = 0


class KeyValue(msgspec.Struct, frozen=True):
    """One key with its value."""

    key: str
    """Base64."""
    value: str = ""
    """Base64."""
    mod_revision: _Int64 = 0
    """The revision that wrote it last."""

    @property
    def name(self) -> bytes:
        """The key."""
        return _bytes(self.key)

    @property
    def data(self) -> bytes:
        """The value."""
        return _bytes(self.value)


class Page(msgspec.Struct, frozen=True):
    """Part of a range."""

    header: _Header = _Header()
    kvs: tuple[KeyValue, ...] = ()
    more: bool = False


class Event(msgspec.Struct, frozen=True):
    """One change."""

    kv: KeyValue
    type: str = "PUT"
    """PUT | DELETE."""


class Changes(msgspec.Struct, frozen=True):
    """One message of a watch."""

    header: _Header = _Header()
    created: bool = False
    canceled: bool = False
    compact_revision: _Int64 = 0
    """Above 0: what was asked for is compacted away, from this revision on it is at hand."""
    cancel_reason: str = ""
    events: tuple[Event, ...] = ()


class _Failure(msgspec.Struct, frozen=True):
    message: str = ""


class _Streamed(msgspec.Struct, frozen=True):
    result: msgspec.Raw = msgspec.Raw(b"{}")
    error: _Failure | None = None


class _Refusal(msgspec.Struct, frozen=True):
    error: str = ""
    message: str = ""


class Lease(msgspec.Struct, frozen=True):
    """A granted or renewed lease."""

    id: _Int64 = msgspec.field(name="ID", default=0)
    ttl_s: _Int64 = msgspec.field(name="TTL", default=0)
    """Seconds it lives without being renewed; 0: it is gone."""


def range_request(prefix: bytes, after: bytes | None, revision: int, limit: int) -> bytes:
    """Keys below ``prefix`` behind ``after``, as of ``revision`` (0: now)."""
    first = prefix if after is None else after + b"\0"
    return _request(key=first, range_end=_end_of(prefix), revision=revision, limit=limit)


def watch_request(prefix: bytes, start_revision: int) -> bytes:
    """Every change below ``prefix`` from a revision on."""
    asked = _fields(key=prefix, range_end=_end_of(prefix), start_revision=start_revision)
    return msgspec.json.encode({"create_request": asked})


def put_request(key: bytes, value: bytes, lease: int) -> bytes:
    """A key that lives as long as its lease."""
    return _request(key=key, value=value, lease=lease)


def grant_request(ttl_s: int) -> bytes:
    """A lease of this many seconds."""
    return msgspec.json.encode({"TTL": str(ttl_s)})


def lease_request(lease: int) -> bytes:
    """Renews or revokes a lease."""
    return msgspec.json.encode({"ID": str(lease)})


def read_page(body: bytes) -> Page:
    """An answer to a range request; raises EtcdFormatError."""
    return _decode(body, Page)


def read_changes(line: bytes) -> Changes:
    """One line of a watch; raises EtcdFormatError, EtcdError for an error in place of a message."""
    return _decode(_streamed(line), Changes)


def read_lease(body: bytes) -> Lease:
    """An answer to a grant; raises EtcdFormatError."""
    return _decode(body, Lease)


def read_kept_lease(body: bytes) -> Lease:
    """An answer to a renewal, which is a stream of one line; raises EtcdFormatError, EtcdError."""
    return _decode(_streamed(body.split(b"\n", 1)[0]), Lease)


def refusal(status: int, body: bytes) -> EtcdError:
    """What an answer with an error status says."""
    try:
        said = msgspec.json.decode(body, type=_Refusal)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        said = _Refusal()
    return EtcdError(" ".join((said.message or said.error or f"status {status}").split())[:200])


def _streamed(line: bytes) -> bytes:
    message = _decode(line, _Streamed)
    if message.error is not None:
        raise EtcdError(" ".join(message.error.message.split())[:200] or "an error without a message")
    return bytes(message.result)


def _decode(data: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(data, type=kind, strict=False)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise EtcdFormatError(f"no answer of etcd: {' '.join(str(error).split())[:200]}") from error


def _bytes(text: str) -> bytes:
    try:
        return b64decode(text, validate=True)
    except ValueError as error:
        raise EtcdFormatError("no answer of etcd: bytes that are not base64") from error


def _request(**values: bytes | int) -> bytes:
    return msgspec.json.encode(_fields(**values))


def _fields(**values: bytes | int) -> dict[str, Any]:
    """Fields as the gateway takes them, without those at their default."""
    return {
        name: b64encode(value).decode() if isinstance(value, bytes) else str(value)
        for name, value in values.items()
        if value
    }


def _end_of(prefix: bytes) -> bytes:
    """The first key behind all that begin with ``prefix``; a zero byte, "to the end", where there is none."""
    stem = prefix.rstrip(b"\xff")
    return stem[:-1] + bytes([stem[-1] + 1]) if stem else b"\0"
