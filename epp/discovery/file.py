"""Endpoints from a watched file.

The file is looked at by name every ``poll_interval_s``: polling sees an edit, an atomic rename and the
symlink swap of a mounted ConfigMap alike, on every file system, where change notification sees some of
them. A file that cannot be read or is wrong changes nothing: the last good set stays, and ``problem``, a
metric and one log line say so. File and name look-ups run off the event loop.
"""

import asyncio
import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from epp.core.endpoints import Endpoint, PoolSnapshot
from epp.discovery.resolve import Resolver
from epp.discovery.source import DiscoveryMetrics, Listener, NullDiscoveryMetrics, Publisher, Unsubscribe
from epp.wire.endpointsfile import MAX_FILE_BYTES, EndpointsFileError, is_literal, parse

RESOLVE_AGAIN_S: Final = 30.0
"""How often names are looked up anew."""
_SETTLED_NS: Final = 2_000_000_000
"""A file read this soon after its modification may change again within the same timestamp."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Seen:
    """The file as last read."""

    inode: int
    size_bytes: int
    modified_ns: int
    settled: bool
    content: bytes


class FileDiscovery:
    """See the module's preface; fills the Discovery seam."""

    def __init__(
        self,
        path: str | Path,
        poll_interval_s: float,
        metrics: DiscoveryMetrics | None = None,
        *,
        resolver: Resolver | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._path = Path(path)
        self._poll_interval_s = poll_interval_s
        self._metrics = metrics or NullDiscoveryMetrics()
        self._publisher = Publisher(self._metrics)
        self._resolver = resolver or Resolver()
        self._clock = clock
        self._seen: _Seen | None = None
        self._entries: tuple[Endpoint, ...] = ()
        self._resolved_at_s = clock()
        self._file_problem: str | None = None
        self._name_problem: str | None = None

    @property
    def snapshot(self) -> PoolSnapshot:
        """The pool now; empty until the first good :meth:`refresh`."""
        return self._publisher.snapshot

    @property
    def problem(self) -> str | None:
        """What is wrong with the file or its names, in one sentence; None: nothing."""
        return self._file_problem or self._name_problem

    def subscribe(self, listener: Listener) -> Unsubscribe:
        """See Discovery."""
        return self._publisher.subscribe(listener)

    async def run(self) -> None:
        """Refresh until cancelled."""
        while True:
            await self.refresh()
            await asyncio.sleep(self._poll_interval_s)

    async def refresh(self) -> None:
        """Look at the file once and publish what changed; look names up again when it is time."""
        changed = await self._read()
        names = any(not is_literal(entry.address) for entry in self._entries)
        if changed or (names and self._clock() - self._resolved_at_s >= RESOLVE_AGAIN_S):
            await self._publish()

    async def _read(self) -> bool:
        """Whether the file has new, good content."""
        try:
            seen = await asyncio.to_thread(_look, self._path, self._seen)
        except OSError as error:
            self._report("read", f"{self._path}: {error.strerror or error}")
            self._seen = None
            return False
        if seen is self._seen:
            return False
        unchanged = self._seen is not None and self._seen.content == seen.content
        self._seen = seen
        if unchanged:
            return False
        try:
            self._entries = await asyncio.to_thread(parse, seen.content)
        except EndpointsFileError as error:
            self._report("format", f"{self._path}: {error}")
            return False
        self._file_problem = None
        return True

    async def _publish(self) -> None:
        endpoints, failed = await self._resolver.resolve(self._entries)
        self._resolved_at_s = self._clock()
        self._name_problem = f"cannot be resolved: {', '.join(failed)}" if failed else None
        if self._name_problem:
            self._metrics.failed("resolve")
            _log.warning("endpoints: names that %s", self._name_problem)
        try:
            self._publisher.publish(endpoints)
        except ValueError as error:  # two names, one address
            self._report("resolve", f"{self._path}: {error}")

    def _report(self, reason: str, problem: str) -> None:
        self._metrics.failed(reason)
        if problem != self._file_problem:
            _log.error("endpoints: %s; the last good set of %d stays", problem, len(self.snapshot.endpoints))
        self._file_problem = problem


def _look(path: Path, seen: _Seen | None) -> _Seen:
    """The file as it is now, ``seen`` itself if it did not change; raises OSError."""
    with path.open("rb") as file:
        status = os.fstat(file.fileno())
        same = seen is not None and (seen.inode, seen.size_bytes, seen.modified_ns) == (
            status.st_ino,
            status.st_size,
            status.st_mtime_ns,
        )
        if seen is not None and same and seen.settled:
            return seen
        content = file.read(MAX_FILE_BYTES + 1)
    settled = time.time_ns() - status.st_mtime_ns > _SETTLED_NS
    if seen is not None and same and not settled and seen.content == content:
        return seen
    return _Seen(status.st_ino, status.st_size, status.st_mtime_ns, settled, content)
