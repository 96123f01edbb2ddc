"""Part of a pool: the endpoints of one namespace, or of those that begin alike."""

from collections.abc import Callable
from typing import TypeAlias

from epp.core.endpoints import PoolSnapshot
from epp.discovery.source import Discovery, Listener, NullDiscoveryMetrics, Publisher, Unsubscribe

_Keeps: TypeAlias = Callable[[str], bool]


class NamespaceDiscovery:
    """A Discovery that shows those endpoints of another whose namespace fits."""

    def __init__(self, inner: Discovery, namespace: str | None, prefix: str | None) -> None:
        """``prefix`` takes precedence over ``namespace``."""
        self._inner = inner
        self._keeps: _Keeps = _exactly(namespace) if prefix is None else _beginning(prefix)
        self._publisher = Publisher(NullDiscoveryMetrics())  # the inner source counts
        inner.subscribe(self._take)

    @property
    def snapshot(self) -> PoolSnapshot:
        """The part of the pool now."""
        return self._publisher.snapshot

    @property
    def problem(self) -> str | None:
        """The inner source's."""
        return self._inner.problem

    def subscribe(self, listener: Listener) -> Unsubscribe:
        """See Discovery."""
        return self._publisher.subscribe(listener)

    async def run(self) -> None:
        """Watch the inner source until cancelled."""
        await self._inner.run()

    def _take(self, snapshot: PoolSnapshot) -> None:
        self._publisher.publish(tuple(e for e in snapshot.endpoints if self._keeps(e.namespace)))


def _exactly(namespace: str | None) -> _Keeps:
    return lambda given: given == namespace


def _beginning(prefix: str) -> _Keeps:
    return lambda given: given.startswith(prefix)
