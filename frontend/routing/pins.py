"""The workers a request names itself, wherever it names them.

Three places, the first that speaks wins per value: headers (``x-dynamo-*`` and their older names), ``nvext``,
and the body's ``routing`` object. Within one place two names that disagree are an error that names both, as
is a value that cannot be read: a misspelt pin must not become a silent choice of somebody else.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Final, NamedTuple, TypeAlias

import msgspec

from epp.core.requests import NvExt
from frontend.errors import ApiError, bad_request
from frontend.pipeline.call import Call

WORKER: Final = ("x-dynamo-worker-instance-id", "x-worker-instance-id")
RANK: Final = ("x-dynamo-dp-rank", "x-dp-rank", "x-data-parallel-rank")
PREFILL: Final = ("x-dynamo-prefill-instance-id", "x-prefill-instance-id")
PREFILL_RANK: Final = ("x-dynamo-prefill-dp-rank", "x-prefill-dp-rank")
PIN_HEADERS: Final = frozenset((*WORKER, *RANK, *PREFILL, *PREFILL_RANK))
"""Every header that pins by number."""
NO_HEADERS: Final[Mapping[str, str]] = {}

_U64: Final = 2**64 - 1
_U32: Final = 2**32 - 1
_DIGITS: Final = re.compile(r"[0-9]{1,20}")
_Id: TypeAlias = Annotated[int, msgspec.Meta(ge=0)]
_Rank: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=_U32)]


class Named(NamedTuple):
    """A number and where it was written, for messages."""

    value: int
    where: str


class Pins(NamedTuple):
    """What a request says of its workers; None: nothing."""

    worker: Named | None = None
    rank: Named | None = None
    prefill: Named | None = None
    prefill_rank: Named | None = None


class _RoutingField(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """The body's ``routing`` object."""

    backend_instance_id: _Id | None = None
    decode_worker_id: _Id | None = None
    prefill_worker_id: _Id | None = None
    dp_rank: _Rank | None = None
    prefill_dp_rank: _Rank | None = None


class _Source(NamedTuple):
    place: str
    fields: NvExt | _RoutingField


_NONE: Final = Pins()


def read_pins(call: Call) -> Pins:
    """Everything ``call`` names. Raises ApiError (400)."""
    headers = NO_HEADERS if PIN_HEADERS.isdisjoint(call.headers) else call.headers
    sources = _sources(call)
    if headers is NO_HEADERS and not sources:
        return _NONE
    return Pins(
        worker=_from_headers(headers, WORKER, _U64) or _worker_of(sources),
        rank=_from_headers(headers, RANK, _U32) or _first("dp_rank", sources),
        prefill=_from_headers(headers, PREFILL, _U64) or _first("prefill_worker_id", sources),
        prefill_rank=_from_headers(headers, PREFILL_RANK, _U32) or _first("prefill_dp_rank", sources),
    )


def _sources(call: Call) -> list[_Source]:
    """The places in the body that say something, the one that goes first first."""
    sources: list[_Source] = []
    if call.nvext.present:
        sources.append(_Source("nvext", call.nvext.routing))
    if (field := call.body.get("routing", _RoutingField)) is not None:
        sources.append(_Source("routing", field))
    return sources


def header(name: str) -> str:
    """A header as messages write it."""
    return f"Header `{name}`"


def _from_headers(headers: Mapping[str, str], names: Iterable[str], limit: int) -> Named | None:
    said: list[Named] = []
    for name in names:
        if name in headers and (text := headers[name].strip()):
            named = _number(name, text, limit)
            if not (limit == _U32 and named.value == _U32):  # Dynamo's "no rank"
                said.append(named)
    return _agreed(said)


def _number(name: str, text: str, limit: int) -> Named:
    if not _DIGITS.fullmatch(text):
        raise bad_request(f"{header(name)}: {_shown(text)} is not a number.")
    value = int(text)
    if value > limit:
        raise bad_request(f"{header(name)}: {text} is larger than {limit}.")
    return Named(value, header(name))


def _shown(text: str) -> str:
    return repr(text if len(text) <= 40 else f"{text[:40]}…")


def _worker_of(sources: list[_Source]) -> Named | None:
    """The decode worker; ``backend_instance_id`` is its name from before requests were split."""
    names = ("decode_worker_id", "backend_instance_id")
    for source in sources:
        if (named := _agreed([found for name in names if (found := _field(source, name))])) is not None:
            return named
    return None


def _first(name: str, sources: list[_Source]) -> Named | None:
    for source in sources:
        if (named := _field(source, name)) is not None:
            return named
    return None


def _field(source: _Source, name: str) -> Named | None:
    value: int | None = getattr(source.fields, name)
    if value is None or (value == _U32 and name.endswith("rank")):
        return None
    if value > _U64:
        raise bad_request(f"`{source.place}.{name}` is larger than {_U64}.")
    return Named(value, f"`{source.place}.{name}`")


def _agreed(said: list[Named]) -> Named | None:
    """The one value a place gives."""
    if not said:
        return None
    first = said[0]
    for other in said[1:]:
        if other.value != first.value:
            raise disagree(first.where, str(first.value), other.where, str(other.value))
    return first


def disagree(first: str, one: str, second: str, other: str) -> ApiError:
    """Two ways to say the same thing that say different things."""
    second = second[:1].lower() + second[1:]
    return bad_request(f"{first} says {one} and {second} says {other}: name one worker, or the same in both.")
