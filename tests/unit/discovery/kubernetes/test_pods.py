"""The pods of a selector, as news of them comes."""

import json
from typing import Any

import msgspec

from epp.discovery.kubernetes.pods import MAX_PODS, PodStore
from epp.wire.kubernetes.api import EventKind


def raw(name: str, ip: str = "10.0.0.1", created: str = "", **notes: str) -> msgspec.Raw:
    meta: dict[str, Any] = {"name": name, "creationTimestamp": created or None, "annotations": notes}
    status = {"podIP": ip, "conditions": [{"type": "Ready", "status": "True"}]}
    return msgspec.Raw(json.dumps({"metadata": meta, "status": status}).encode())


def names(store: PodStore) -> set[str]:
    return {endpoint.name for endpoint in store.endpoints()}


def test_changes() -> None:
    store = PodStore((8000,))
    store.apply(EventKind.ADDED, raw("a"))
    store.apply(EventKind.MODIFIED, raw("a", "10.0.0.9"))
    assert [endpoint.address for endpoint in store.endpoints()] == ["10.0.0.9"]
    store.apply(EventKind.DELETED, raw("a"))
    store.apply(EventKind.DELETED, raw("never-known"))
    assert store.endpoints() == ()


def test_other_ports() -> None:
    store = PodStore((8000,))
    store.add([raw("a")])
    store.use_ports((9000, 9001))
    assert names(store) == {"a-9000", "a-9001"}


def test_of_two_pods_with_one_address_the_younger_serves() -> None:
    store = PodStore((8000,))
    store.add([raw("new", created="2026-02-01T00:00:00Z"), raw("old", created="2026-01-01T00:00:00Z")])
    assert len(store.endpoints()) == 2
    assert [endpoint.name for endpoint in store.distinct_endpoints()] == ["new"]


def test_pods_that_share_their_nodes_address_serve_on_ports_of_their_own() -> None:
    """As with ``hostNetwork``."""
    store = PodStore((8000, 8001))
    ports = ("8000", "8001")
    store.add([raw(f"p{port}", "10.0.0.1", **{"epp/active-ports": port}) for port in ports])
    assert {endpoint.host_port for endpoint in store.distinct_endpoints()} == {
        "10.0.0.1:8000",
        "10.0.0.1:8001",
    }
    assert len(store.endpoints()) == 2


def test_what_cannot_be_read_is_told_until_it_can() -> None:
    store = PodStore((8000,))
    store.add([msgspec.Raw(b"{}"), raw("a", **{"epp/role": "x", "epp/dp-size": "y"})])
    assert names(store) == {"a"}
    assert store.problem == "a pod that cannot be read: an object without a name (and 2 more)"
    store.apply(EventKind.MODIFIED, raw("a"))
    assert store.problem == "a pod that cannot be read: an object without a name"


def broken(name: str) -> msgspec.Raw:
    return msgspec.Raw(json.dumps({"metadata": {"name": name}, "status": {"podIP": 7}}).encode())


def test_a_pod_that_cannot_be_read_any_more_does_not_serve() -> None:
    store = PodStore((8000,))
    store.add([raw("a"), raw("b", "10.0.0.2")])
    store.apply(EventKind.MODIFIED, broken("a"))
    assert names(store) == {"b"}
    assert (store.problem or "").startswith("a cannot be read: Expected `str`")
    store.apply(EventKind.MODIFIED, raw("a"))
    assert (names(store), store.problem) == ({"a", "b"}, None)
    store.apply(EventKind.DELETED, broken("a"))
    assert (names(store), store.problem) == ({"b"}, None)


def test_of_many_that_cannot_be_read_some_are_named() -> None:
    store = PodStore((8000,))
    store.add([broken(f"p{i}") for i in range(1000)])
    assert (store.problem or "").endswith("(and 100 more)")


def test_there_is_a_bound() -> None:
    store = PodStore((8000,))
    pods = [raw(f"p{i}") for i in range(MAX_PODS + 1)]
    store.add(pods)
    assert store.pods == MAX_PODS
    assert store.problem == f"more than {MAX_PODS} pods; those beyond are left out"
    store.apply(EventKind.MODIFIED, raw("p0", "10.0.0.9"))
    assert "10.0.0.9" in {endpoint.address for endpoint in store.endpoints()}
    store.apply(EventKind.DELETED, raw("p0"))
    assert store.problem is None
