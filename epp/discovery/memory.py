"""A pool set by its owner: tests, demos, programs that embed the picker."""

import asyncio
from collections.abc import Iterable

from epp.core.endpoints import Endpoint, PoolSnapshot
from epp.discovery.source import DiscoveryMetrics, Listener, NullDiscoveryMetrics, Publisher, Unsubscribe


class MemoryDiscovery:
    """A Discovery whose endpoints are what :meth:`replace` last said."""

    def __init__(self, endpoints: Iterable[Endpoint] = (), metrics: DiscoveryMetrics | None = None) -> None:
        self._publisher = Publisher(metrics or NullDiscoveryMetrics())
        self._publisher.publish(tuple(endpoints))

    @property
    def snapshot(self) -> PoolSnapshot:
        """The pool now."""
        return self._publisher.snapshot

    @property
    def problem(self) -> None:
        """Memory is never wrong about itself."""
        return

    def subscribe(self, listener: Listener) -> Unsubscribe:
        """See Discovery."""
        return self._publisher.subscribe(listener)

    def replace(self, endpoints: Iterable[Endpoint]) -> None:
        """Make these the pool; raises ValueError on duplicate worker ids or addresses."""
        self._publisher.publish(tuple(endpoints))

    async def run(self) -> None:
        """Nothing to watch: waits to be cancelled."""
        await asyncio.Event().wait()
