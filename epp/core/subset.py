"""The gateway's subset hint: which endpoints a request may go to.

Endpoint Picker Protocol, ``envoy.lb.subset_hint`` / ``x-gateway-destination-endpoint-subset``. Entries
are ``ip:port`` or a bare ip, which stands for all its ports; IPv6 comes with or without brackets. A
hint is a promise that nothing outside it is chosen, so what cannot be read allows nothing.
"""

from collections.abc import Iterable
from ipaddress import ip_address

from epp.core.endpoints import Endpoint, PoolSnapshot

_MAX_ENTRIES = 65_536
"""A hint longer than any pool is damage; the rest of it is not read."""


def parse_subset(value: str | Iterable[object]) -> tuple[str, ...]:
    """Entries of a hint given as a comma string or a list; blanks and non-strings are dropped."""
    items: Iterable[object] = value.split(",") if isinstance(value, str) else value
    entries: list[str] = []
    for item in items:
        if isinstance(item, str) and (entry := item.strip()):
            entries.append(entry)
        if len(entries) == _MAX_ENTRIES:
            break
    return tuple(entries)


def split_host_port(entry: str) -> tuple[str, int | None]:
    """Host in canonical form, without brackets, and port; None: the entry is a bare host.

    A colon inside an unbracketed IPv6 address belongs to the address, as in RFC 3986.
    """
    if entry.startswith("["):
        host, _, rest = entry[1:].partition("]")
        return _canonical(host), _port(rest[1:]) if rest.startswith(":") else None
    if entry.count(":") == 1:
        host, _, port = entry.partition(":")
        return _canonical(host), _port(port)
    return _canonical(entry), None


def eligible(snapshot: PoolSnapshot, subset: tuple[str, ...] | None) -> tuple[Endpoint, ...]:
    """Endpoints of the pool a hint allows, in the pool's order; None: no hint, everyone."""
    if subset is None:
        return snapshot.endpoints
    allowed: set[int] = set()
    for entry in subset:
        allowed.update(endpoint.worker_id for endpoint in _matches(snapshot, entry))
    return tuple(e for e in snapshot.endpoints if e.worker_id in allowed)


def intersect(first: tuple[str, ...], second: tuple[str, ...]) -> tuple[str, ...]:
    """Entries that both hints allow, as narrow as the narrower one says."""
    parsed = [(split_host_port(entry), entry) for entry in second]
    kept: dict[str, None] = {}
    for entry in first:
        host, port = split_host_port(entry)
        for (other_host, other_port), other in parsed:
            if host == other_host and (port is None or other_port is None or port == other_port):
                kept[other if port is None else entry] = None
    return tuple(kept)


def _matches(snapshot: PoolSnapshot, entry: str) -> tuple[Endpoint, ...]:
    exact = snapshot.by_host_port.get(entry)
    if exact is not None:
        return (exact,)
    host, port = split_host_port(entry)
    at_host = snapshot.by_address.get(host) or snapshot.by_address.get(entry) or ()
    return tuple(e for e in at_host if port is None or e.port == port)


def _canonical(host: str) -> str:
    """One spelling per address; a name that is no address stays as it is."""
    try:
        return str(ip_address(host))
    except ValueError:
        return host


def _port(text: str) -> int:
    """The port; -1, which no endpoint has, when the text is none."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 5 else -1
