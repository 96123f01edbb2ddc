"""What is registered under a prefix: keys to endpoints, whatever order the news comes in."""

from typing import Final

from epp.core.endpoints import Endpoint
from epp.wire.endpointsfile import EndpointsFileError, parse_entry
from epp.wire.etcd import Event, KeyValue

MAX_KEYS: Final = 20_000
"""Registrations that are kept; more are left out, and said."""
MAX_VALUE_BYTES: Final = 64 * 1024


class Registered:
    """The registrations, by key. A value that is no endpoint is left out and remembered as a problem."""

    def __init__(self) -> None:
        self._entries: dict[bytes, tuple[int, Endpoint]] = {}
        self._wrong: dict[bytes, str] = {}

    @property
    def problem(self) -> str | None:
        """One sentence on the values that cannot be used; None: all can."""
        if not self._wrong:
            return None
        first = next(iter(self._wrong.values()))
        others = len(self._wrong) - 1
        return f"{first} (and {others} more)" if others else first

    def clear(self) -> None:
        """Forget everything: a new list follows."""
        self._entries.clear()
        self._wrong.clear()

    def apply(self, event: Event) -> None:
        """One change; raises EtcdFormatError for bytes that are not."""
        if event.type == "DELETE":
            key = event.kv.name
            self._entries.pop(key, None)
            self._wrong.pop(key, None)
        else:
            self.put(event.kv)

    def put(self, kv: KeyValue) -> None:
        """A registration, new or changed; raises EtcdFormatError for bytes that are not."""
        key, data = kv.name, kv.data
        self._entries.pop(key, None)
        self._wrong.pop(key, None)
        if len(self._entries) + len(self._wrong) >= MAX_KEYS:
            # Told under one key, so that what is over the bound costs no memory.
            self._wrong[b""] = f"more than {MAX_KEYS} registrations; those beyond are left out"
            return
        where = repr(key[-128:])[1:]
        if len(data) > MAX_VALUE_BYTES:
            self._wrong[key] = f"{where} has more than {MAX_VALUE_BYTES} bytes"
            return
        try:
            self._entries[key] = (kv.mod_revision, parse_entry(data, where))
        except EndpointsFileError as error:
            self._wrong[key] = str(error)

    def endpoints(self) -> tuple[Endpoint, ...]:
        """The endpoints. Of two with one worker id or one address the younger counts: a worker that came
        back registers anew while its former lease still runs."""
        by_worker: dict[int, Endpoint] = {}
        by_place: dict[tuple[str, int], Endpoint] = {}
        for _, endpoint in sorted(self._entries.values(), key=lambda entry: -entry[0]):
            place = (endpoint.address, endpoint.port)
            if endpoint.worker_id not in by_worker and place not in by_place:
                by_worker[endpoint.worker_id] = by_place[place] = endpoint
        return tuple(by_worker.values())
