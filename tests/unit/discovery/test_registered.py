"""What is registered: order of news, wrong values, twins, bounds."""

import json
from base64 import b64encode

import pytest

from epp.discovery import registered as module
from epp.discovery.registered import MAX_VALUE_BYTES, Registered
from epp.wire.etcd import Event, KeyValue


def kv(key: str, value: bytes, revision: int = 1) -> KeyValue:
    return KeyValue(b64encode(key.encode()).decode(), b64encode(value).decode(), revision)


def worker(name: str, port: int = 8000, **more: object) -> bytes:
    return json.dumps({"name": name, "address": "10.0.0.1", "port": port, **more}).encode()


def names(registered: Registered) -> list[str]:
    return sorted(endpoint.name for endpoint in registered.endpoints())


def test_puts_and_deletes() -> None:
    registered = Registered()
    registered.put(kv("/1", worker("a", 1)))
    registered.apply(Event(kv("/2", worker("b", 2))))
    assert names(registered) == ["a", "b"]
    registered.apply(Event(kv("/1", b""), "DELETE"))
    registered.apply(Event(kv("/unknown", b""), "DELETE"))
    assert names(registered) == ["b"]


def test_a_wrong_value_is_named_until_it_is_mended() -> None:
    registered = Registered()
    registered.put(kv("/1", worker("a")))
    registered.put(kv("/1", b'{"name": "a"}'))
    registered.put(kv("/2", b"?"))
    assert names(registered) == []
    assert registered.problem == "'/1' ('a'): address is missing (and 1 more)"
    registered.apply(Event(kv("/2", b""), "DELETE"))
    registered.put(kv("/1", worker("a")))
    assert registered.problem is None


@pytest.mark.parametrize("other", [worker("b", 8000), worker("a", 8001)])
def test_of_twins_the_younger_counts(other: bytes) -> None:
    registered = Registered()
    registered.put(kv("/new", other, 7))
    registered.put(kv("/old", worker("a", 8000), 3))
    (only,) = registered.endpoints()
    assert (only.name, only.port) != ("a", 8000)
    registered.apply(Event(kv("/new", b""), "DELETE"))
    (only,) = registered.endpoints()
    assert (only.name, only.port) == ("a", 8000)


def test_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_KEYS", 2)
    registered = Registered()
    registered.put(kv("/1", b" " * (MAX_VALUE_BYTES + 1)))
    assert "has more than" in str(registered.problem)
    registered.put(kv("/1", worker("a", 1)))
    for port in (2, 3, 4):
        registered.put(kv(f"/{port}", worker(f"w{port}", port)))
    assert names(registered) == ["a", "w2"]
    assert "more than 2 registrations" in str(registered.problem)
