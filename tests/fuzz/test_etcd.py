"""etcd's answers are foreign bytes: whatever comes ends as records or as one of two errors."""

import json
from base64 import b64encode
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from epp.discovery.registered import Registered
from epp.wire.etcd import (
    EtcdError,
    EtcdFormatError,
    Event,
    KeyValue,
    read_changes,
    read_kept_lease,
    read_lease,
    read_page,
    refusal,
)

WORDS = """header revision kvs key value mod_revision more result error message events kv type canceled
created compact_revision cancel_reason ID TTL cluster_id""".split()  # noqa: SIM905 -- words read best as words
scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.integers().map(str)
)
trees = st.recursive(
    scalars,
    lambda below: st.one_of(
        st.lists(below, max_size=3), st.dictionaries(st.sampled_from(WORDS), below, max_size=4)
    ),
    max_leaves=12,
)


def check(error: Exception) -> None:
    assert str(error)


def read(body: bytes) -> None:
    for reader in (read_page, read_changes, read_lease, read_kept_lease):
        try:
            answer: Any = reader(body)
            for kv in getattr(answer, "kvs", ()):
                Registered().put(kv)
            for event in getattr(answer, "events", ()):
                Registered().apply(event)
        except (EtcdFormatError, EtcdError) as error:
            check(error)


@given(st.binary(max_size=200))
def test_any_bytes(body: bytes) -> None:
    read(body)
    assert str(refusal(500, body))


@given(trees)
def test_any_tree_of_known_words(tree: Any) -> None:
    read(json.dumps(tree).encode())


ENTRY = st.dictionaries(
    st.sampled_from(
        ["name", "address", "port", "namespace", "labels", "role", "engine", "dp_size", "kv_events"]
    ),
    st.one_of(scalars, st.sampled_from(["10.0.0.1", "w", "prefill", "sglang", "tcp://*:1"])),
)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans(), st.one_of(ENTRY, trees)), max_size=6))
def test_any_registrations_are_a_pool_or_a_problem(news: list[tuple[str, bool, Any]]) -> None:
    registered = Registered()
    for revision, (key, gone, value) in enumerate(news):
        data = b64encode(json.dumps(value).encode()).decode()
        kv = KeyValue(b64encode(key.encode()).decode(), data, revision)
        registered.apply(Event(kv, "DELETE" if gone else "PUT"))
    endpoints = registered.endpoints()
    assert len({endpoint.worker_id for endpoint in endpoints}) == len(endpoints)
    assert len({endpoint.host_port for endpoint in endpoints}) == len(endpoints)
    if not any(gone for _, gone, _ in news) and news:
        assert endpoints or registered.problem
