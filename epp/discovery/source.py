"""The seam every source of endpoints fills: a snapshot now, and a call for every later one."""

from collections.abc import Callable
from typing import Protocol, TypeAlias

from epp.core.endpoints import Endpoint, PoolSnapshot

Listener: TypeAlias = Callable[[PoolSnapshot], None]
"""Called on the event loop, in order, with every published snapshot."""
Unsubscribe: TypeAlias = Callable[[], None]


class Discovery(Protocol):
    """A source of endpoints; all methods run on the event loop."""

    @property
    def snapshot(self) -> PoolSnapshot:
        """The pool now; empty until the source has been read."""
        ...

    @property
    def problem(self) -> str | None:
        """Why the snapshot may not be what the source says now, in one sentence; None: it is."""
        ...

    def subscribe(self, listener: Listener) -> Unsubscribe:
        """Call ``listener`` at once with the present snapshot, and again for every change."""
        ...

    async def run(self) -> None:
        """Watch the source until cancelled. A source that cannot be read is a ``problem``, no exception."""
        ...


class DiscoveryMetrics(Protocol):
    """Counts what discovery does."""

    def published(self, endpoints: int) -> None:
        """A new snapshot of this many endpoints."""
        ...

    def failed(self, reason: str) -> None:
        """The source could not be used: ``read``, ``format`` or ``resolve``."""
        ...


class NullDiscoveryMetrics:
    """Counts nothing."""

    def published(self, endpoints: int) -> None:
        """See DiscoveryMetrics."""

    def failed(self, reason: str) -> None:
        """See DiscoveryMetrics."""


class Publisher:
    """Keeps the snapshot and its listeners for a source."""

    def __init__(self, metrics: DiscoveryMetrics) -> None:
        self._metrics = metrics
        self._listeners: list[Listener] = []
        self.snapshot = PoolSnapshot.of(())

    def subscribe(self, listener: Listener) -> Unsubscribe:
        """See Discovery."""
        self._listeners.append(listener)
        listener(self.snapshot)

        def unsubscribe() -> None:
            if listener in self._listeners:
                self._listeners.remove(listener)

        return unsubscribe

    def publish(self, endpoints: tuple[Endpoint, ...]) -> None:
        """Make these the pool, if they differ from it; raises ValueError for duplicates."""
        snapshot = PoolSnapshot.of(endpoints, self.snapshot.generation + 1)
        if snapshot.endpoints == self.snapshot.endpoints:
            return
        self.snapshot = snapshot
        self._metrics.published(len(snapshot.endpoints))
        for listener in tuple(self._listeners):
            listener(snapshot)
