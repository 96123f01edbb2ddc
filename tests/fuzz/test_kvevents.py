"""Invariant: no bytes an engine may send make the event readers raise; every event is used or counted."""

from contextlib import suppress
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from epp.core.router import BlocksStored
from epp.wire.extrakeys import read_extra_keys, read_mm_infos
from epp.wire.kvevents import decode
from epp.wire.trtllm import Translator
from epp.wire.zmqframes import FrameError, parse_live, parse_replay, rank_address

scalars = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(max_size=8)
values = st.recursive(
    scalars | st.binary(max_size=33),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
FIELDS = [
    "type",
    "block_hashes",
    "parent_block_hash",
    "token_ids",
    "block_size",
    "lora_id",
    "medium",
    "lora_name",
    "extra_keys",
    "cache_salt",
    "block_mm_infos",
    "group_idx",
    "kv_cache_spec_kind",
    "locality",
]
TYPES = st.sampled_from(["BlockStored", "BlockRemoved", "AllBlocksCleared", "Other"])
hashes = st.lists(st.integers(-(2**63), 2**64 - 1) | st.binary(max_size=33), max_size=4)
maps = st.fixed_dictionaries({"type": TYPES, "block_hashes": hashes | values}).flatmap(
    lambda head: st.dictionaries(st.sampled_from(FIELDS[2:]), values, max_size=6).map(
        lambda tail: {**head, **tail}
    )
)
arrays = st.tuples(TYPES, hashes | values, st.lists(values, max_size=11)).map(lambda t: [t[0], t[1], *t[2]])


@given(st.binary(max_size=400))
def test_any_bytes(payload: bytes) -> None:
    decode(payload)


@given(st.floats() | st.integers(-5, 5), st.lists(maps | arrays | values, max_size=5), values)
def test_every_event_is_used_or_counted(ts: float, events: list[Any], rank: Any) -> None:
    decoded = decode(msgspec.msgpack.encode([ts, events, rank]), set())
    counted = sum(count for _, count in decoded.ignored)
    assert len(decoded.events) + counted == len(events) or decoded.ignored == (("malformed", 1),)
    for event in decoded.events:
        if isinstance(event, BlocksStored):
            assert len(event.tokens) == 4 * event.block_tokens * len(event.engine_hashes)
            assert len(event.mm_hashes) in (0, len(event.engine_hashes))


@given(maps, st.data())
def test_truncated_and_flipped_messages(event: Any, data: st.DataObject) -> None:
    payload = bytearray(msgspec.msgpack.encode([1.0, [event], 0]))
    position = data.draw(st.integers(0, len(payload) - 1))
    decode(bytes(payload[:position]))
    payload[position] ^= data.draw(st.integers(1, 255))
    decode(bytes(payload))


@given(st.lists(values, max_size=5), st.none() | st.text(max_size=8), st.booleans())
def test_extra_keys(keys: list[Any], lora: str | None, at_root: bool) -> None:
    _, contents = read_extra_keys(keys, lora, at_root=at_root)
    assert len(contents) in (0, len(keys))
    read_mm_infos(keys)


@given(st.lists(st.binary(max_size=12), max_size=6))
def test_envelopes(frames: list[bytes]) -> None:
    for parse in (parse_live, parse_replay):
        with suppress(FrameError):
            parse(frames)


@given(
    st.text(max_size=40) | st.from_regex(r"tcp://[a-z.*\[\]:0-9]{0,12}:[0-9]{0,6}", fullmatch=True),
    st.integers(0, 9),
)
def test_rank_addresses(base: str, rank: int) -> None:
    with suppress(ValueError):
        rank_address(base, rank, "::1")


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=10,
)
blocks = st.fixed_dictionaries(
    {
        "block_hash": st.integers(-(2**63), 2**64 - 1),
        "tokens": st.lists(st.builds(lambda token: {"token_id": token}, st.integers(-1, 2**33)), max_size=3),
    },
    optional={"cache_level": st.integers(-1, 3), "mm_keys": json_values},
)
trt_data = st.one_of(
    st.builds(
        lambda b, p: {"type": "stored", "blocks": b, "parent_hash": p},
        st.lists(blocks, max_size=3),
        json_values,
    ),
    st.builds(lambda h: {"type": "removed", "block_hashes": h}, st.lists(st.integers(-5, 5), max_size=3)),
    st.builds(
        lambda h, n: {"type": "updated", "block_hash": h, "cache_level": {"new_value": n}},
        st.integers(-5, 5),
        json_values,
    ),
    json_values,
)
trt_events = st.builds(
    lambda i, d, w, r: {"event_id": i, "data": d, "window_size": w, "attention_dp_rank": r},
    st.integers(0, 5),
    trt_data,
    st.none() | st.integers(0, 3),
    st.none() | st.integers(0, 2),
)


@given(st.lists(st.lists(trt_events | json_values, max_size=5), max_size=4))
def test_trtllm_answers(polls: list[list[Any]]) -> None:
    translator = Translator()
    for poll in polls:
        translator.read(msgspec.json.encode(poll))


@given(st.binary(max_size=200))
def test_trtllm_any_bytes(body: bytes) -> None:
    try:
        Translator().read(body)
    except ValueError as error:
        assert "not a JSON list" in str(error)  # noqa: PT017 -- the one error it may raise
