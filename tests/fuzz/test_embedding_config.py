"""Invariant: whatever text a host gives, the answer is a configuration or a ConfigError."""

import contextlib
import json

from hypothesis import given
from hypothesis import strategies as st

from epp.config.errors import ConfigError
from epp.embedding.configuration import read

_ENTRY = st.fixed_dictionaries(
    {},
    optional={
        "name": st.one_of(st.text(max_size=5), st.integers()),
        "address": st.sampled_from(["10.0.0.1", "::1", "host", "", 7]),
        "port": st.one_of(st.integers(), st.text(max_size=3)),
        "worker_id": st.integers(),
    },
)


@given(st.binary(max_size=200))
def test_any_bytes(text: bytes) -> None:
    with contextlib.suppress(ConfigError):
        read(text, {})


@given(st.lists(_ENTRY, max_size=4), st.sampled_from([{}, {"discovery": None}, {"pool": {"name": "p"}}]))
def test_any_endpoints(entries: list[object], rest: dict[str, object]) -> None:
    with contextlib.suppress(ConfigError):
        given_back = read(json.dumps({"endpoints": entries, **rest}).encode(), {})
        assert given_back.endpoints is not None
        assert len(given_back.endpoints) == len(entries)
