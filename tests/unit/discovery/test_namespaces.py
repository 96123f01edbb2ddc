"""The part of a pool that belongs to a namespace."""

import pytest

from epp.core.endpoints import Endpoint, PoolSnapshot
from epp.discovery.memory import MemoryDiscovery
from epp.discovery.namespaces import NamespaceDiscovery


def worker(number: int, namespace: str) -> Endpoint:
    return Endpoint(f"w{number}", "10.0.0.1", number, worker_id=number, namespace=namespace)


@pytest.mark.parametrize(
    ("namespace", "prefix", "expected"),
    [
        ("ns", None, [1]),
        (None, "ns", [1, 2]),
        ("other", "ns-", [2]),
        ("none", None, []),
        (None, "", [1, 2, 3]),
    ],
)
def test_which_endpoints_are_seen(namespace: str | None, prefix: str | None, expected: list[int]) -> None:
    inner = MemoryDiscovery((worker(1, "ns"), worker(2, "ns-abc123"), worker(3, "other")))
    seen = NamespaceDiscovery(inner, namespace, prefix)
    assert [endpoint.worker_id for endpoint in seen.snapshot.endpoints] == expected
    assert seen.problem is None


def test_changes_elsewhere_are_no_changes() -> None:
    inner = MemoryDiscovery((worker(1, "ns"),))
    seen = NamespaceDiscovery(inner, "ns", None)
    told: list[PoolSnapshot] = []
    unsubscribe = seen.subscribe(told.append)
    inner.replace((worker(1, "ns"), worker(2, "other")))
    inner.replace((worker(3, "ns"), worker(2, "other")))
    assert [[e.worker_id for e in snapshot.endpoints] for snapshot in told] == [[1], [3]]
    unsubscribe()
    inner.replace(())
    assert len(told) == 2
