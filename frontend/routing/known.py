"""Named workers held against those that are known: every wrong name is a 400 that says what is known."""

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from epp.core.endpoints import Endpoint, PoolSnapshot, Role
from epp.core.headers import DESTINATION
from epp.core.intent import ANY_RANK
from epp.core.subset import split_host_port
from frontend.errors import bad_request
from frontend.pipeline.call import Call, Leg
from frontend.routing.pins import NO_HEADERS, Named, Pins, disagree, header, read_pins

PREFILLER_ADDRESS: Final = "x-prefiller-host-port"
"""The prefill worker by address (llm-d's header); only a known worker's address is ever called."""
_SHOWN: Final = 8
"""Workers listed in a message; pools can have thousands."""
_SERVING: Final = frozenset({Role.AGGREGATED, Role.DECODE})
_PREFILLING: Final = frozenset({Role.PREFILL})


class NamedLegs(NamedTuple):
    """The workers a request names, all of them known."""

    worker: Leg | None = None
    prefill: Leg | None = None
    prefill_where: str = ""
    """Where the prefill worker, or its rank, was named; empty: nowhere."""


class _Found(NamedTuple):
    endpoint: Endpoint
    where: str


_NONE: Final = NamedLegs()


def named_legs(call: Call, snapshot: PoolSnapshot, *, addresses: bool) -> NamedLegs:
    """The workers ``call`` names, with ``ANY_RANK`` where it names no rank. Raises ApiError (400).

    ``addresses``: those that a gateway's picker writes count too, where no id is named.
    """
    pins = read_pins(call)
    headers = call.headers if addresses else NO_HEADERS
    worker, prefill = _worker(headers, pins, snapshot), _prefill(headers, pins, snapshot)
    if worker is None and prefill is None and pins.prefill_rank is None:
        return _NONE
    return NamedLegs(
        worker=None if worker is None else _leg(worker, pins.rank, "dp_rank"),
        prefill=None if prefill is None else _leg(prefill, pins.prefill_rank, "prefill_dp_rank"),
        prefill_where=_where(prefill, pins.prefill_rank),
    )


def listed(endpoints: Iterable[Endpoint]) -> str:
    """Worker ids for a message, the first few."""
    ids = [str(endpoint.worker_id) for endpoint in endpoints]
    if not ids:
        return "none"
    return ", ".join(ids[:_SHOWN]) + (f" and {len(ids) - _SHOWN} more" if len(ids) > _SHOWN else "")


def serving(snapshot: PoolSnapshot) -> Iterable[Endpoint]:
    """Workers that may decode."""
    return (e for e in snapshot.endpoints if e.role in _SERVING)


def prefilling(snapshot: PoolSnapshot) -> Iterable[Endpoint]:
    """Workers that compute prompts for others."""
    return (e for e in snapshot.endpoints if e.role in _PREFILLING)


def _worker(headers: Mapping[str, str], pins: Pins, snapshot: PoolSnapshot) -> _Found | None:
    """By id, or else by the address the gateway writes.

    With an id the address says nothing: beside a worker it is this frontend's own.
    """
    if pins.worker is None:
        address = headers.get(DESTINATION)
        return None if address is None else _at(address, DESTINATION, serving(snapshot), snapshot, _SERVING)
    return _by_id(pins.worker, serving(snapshot), snapshot, _SERVING)


def _prefill(headers: Mapping[str, str], pins: Pins, snapshot: PoolSnapshot) -> _Found | None:
    """By id, by address, or both if they agree."""
    address = headers.get(PREFILLER_ADDRESS, "").strip()
    if pins.prefill is None:
        if not address:
            return None
        return _at(address, PREFILLER_ADDRESS, prefilling(snapshot), snapshot, _PREFILLING)
    found = _by_id(pins.prefill, prefilling(snapshot), snapshot, _PREFILLING)
    at = _lookup(address, snapshot)
    if at is not None and at is not found.endpoint:
        raise disagree(found.where, str(pins.prefill.value), header(PREFILLER_ADDRESS), address)
    return found


def _by_id(named: Named, known: Iterable[Endpoint], snapshot: PoolSnapshot, roles: frozenset[Role]) -> _Found:
    endpoint = snapshot.by_worker.get(named.value)
    if endpoint is None:
        raise bad_request(
            f"{named.where} names worker {named.value}, which is not known; known are {listed(known)}."
        )
    _check_role(endpoint, named.where, known, roles)
    return _Found(endpoint, named.where)


def _at(
    address: str, name: str, known: Iterable[Endpoint], snapshot: PoolSnapshot, roles: frozenset[Role]
) -> _Found:
    endpoint = _lookup(address, snapshot)
    if endpoint is None:
        raise bad_request(f"{header(name)} is no known worker's address; known are {listed(known)}.")
    _check_role(endpoint, header(name), known, roles)
    return _Found(endpoint, header(name))


def _lookup(address: str, snapshot: PoolSnapshot) -> Endpoint | None:
    """The worker at ``ip:port``, however its address is spelt."""
    exact = snapshot.by_host_port.get(address)
    if exact is not None:
        return exact
    host, port = split_host_port(address.strip())
    return next((e for e in snapshot.by_address.get(host, ()) if e.port == port), None)


def _check_role(endpoint: Endpoint, where: str, known: Iterable[Endpoint], roles: frozenset[Role]) -> None:
    if endpoint.role not in roles:
        wanted = "prefill" if roles is _PREFILLING else "decode"
        raise bad_request(
            f"{where} names worker {endpoint.worker_id}, whose role is {endpoint.role} and not {wanted}; "
            f"known {wanted} workers are {listed(known)}."
        )


def _leg(found: _Found, rank: Named | None, kind: str) -> Leg:
    endpoint = found.endpoint
    if rank is None:
        return Leg(endpoint, 0 if endpoint.dp_size == 1 else ANY_RANK)
    if rank.value >= endpoint.dp_size:
        raise bad_request(
            f"{rank.where}: {kind} {rank.value} is out of bounds for dp_size {endpoint.dp_size} "
            f"of worker {endpoint.worker_id}."
        )
    return Leg(endpoint, rank.value)


def _where(prefill: _Found | None, rank: Named | None) -> str:
    if prefill is not None:
        return prefill.where
    return "" if rank is None else rank.where
