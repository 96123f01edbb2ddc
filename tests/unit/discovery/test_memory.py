"""A pool set by its owner."""

import pytest

from epp.core.endpoints import Endpoint, PoolSnapshot
from epp.discovery.memory import MemoryDiscovery
from epp.discovery.source import Discovery


def endpoint(worker_id: int, port: int = 80) -> Endpoint:
    return Endpoint(name=str(worker_id), address="10.0.0.1", port=port, worker_id=worker_id)


def test_replace_publishes_changes_only() -> None:
    discovery = MemoryDiscovery([endpoint(1)])
    seen: list[PoolSnapshot] = []
    discovery.subscribe(seen.append)
    discovery.replace([endpoint(1)])
    discovery.replace([endpoint(2), endpoint(1, 81)])
    assert [[e.worker_id for e in snapshot.endpoints] for snapshot in seen] == [[1], [1, 2]]
    assert discovery.snapshot is seen[-1]


def test_duplicates_are_refused_and_change_nothing() -> None:
    discovery = MemoryDiscovery([endpoint(1)])
    with pytest.raises(ValueError, match="same address"):
        discovery.replace([endpoint(1), endpoint(2)])
    assert len(discovery.snapshot.endpoints) == 1


def test_a_listener_may_leave_while_being_told() -> None:
    discovery = MemoryDiscovery()
    seen: list[int] = []

    def once(snapshot: PoolSnapshot) -> None:
        if snapshot.endpoints:
            unsubscribe()
        seen.append(len(snapshot.endpoints))

    unsubscribe = discovery.subscribe(once)
    discovery.replace([endpoint(1)])
    discovery.replace([])
    assert seen == [0, 1]


def test_it_fills_the_seam() -> None:
    source: Discovery = MemoryDiscovery()
    assert source.problem is None
