"""Invariant: a file is taken whole or refused with EndpointsFileError."""

from contextlib import suppress
from typing import Any

import msgspec
import yaml
from hypothesis import given
from hypothesis import strategies as st

from epp.core.endpoints import PoolSnapshot
from epp.wire.endpointsfile import EndpointsFileError, is_literal, parse

scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=12)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
addresses = st.sampled_from(["10.0.0.1", "10.0.0.2", "::1", "[fe80::1]", "node", "a.b.c.", "1.2.3", "*"])
urls = st.sampled_from(["tcp://*:1", "tcp://h:65535", "http://h", "https://h:1/x", "ipc://x", "h:1"])
entries = st.fixed_dictionaries(
    {
        "name": st.sampled_from(["a", "b", "c"]) | values,
        "address": addresses | values,
        "port": st.integers(1, 3) | values,
    },
    optional={
        "namespace": st.sampled_from(["x", "y"]) | values,
        "labels": st.dictionaries(st.text(max_size=8), st.text(max_size=8), max_size=2) | values,
        "worker_id": st.integers(0, 3) | values,
        "role": st.sampled_from(["prefill", "decode"]) | values,
        "engine": st.sampled_from(["vllm", "sglang", "trtllm"]) | values,
        "dp_size": st.integers(1, 3) | values,
        "kv_events": urls | values,
        "kv_replay": urls | values,
        "metrics": urls | values,
        "bootstrap": urls | values,
        "other": values,
    },
)


@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "replace")))
def test_any_bytes(data: bytes) -> None:
    with suppress(EndpointsFileError):
        parse(data)


@given(st.lists(entries, max_size=3), st.booleans())
def test_near_misses(listed: list[dict[str, Any]], as_json: bool) -> None:
    document = {"endpoints": listed}
    data = msgspec.json.encode(document) if as_json else yaml.safe_dump(document).encode()
    with suppress(EndpointsFileError):
        endpoints = parse(data)
        assert len(endpoints) == len(listed)
        if all(is_literal(endpoint.address) for endpoint in endpoints):
            PoolSnapshot.of(endpoints)
