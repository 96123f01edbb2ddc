"""Engine messages: the decoder in C and the one in Python make the same of every message."""

from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from epp.core.endpoints import WorkerRank
from epp.core.kvindex.native import NativeRouter
from epp.core.kvindex.reference import ReferenceRouter
from epp.core.router import RouterOptions, SelectRequest, WorkerSpec
from epp.wire import kvevents

TARGET = WorkerRank(1, 0)
BS = 2

names = st.integers(-3, 8) | st.sampled_from([2**63, 2**64 - 1, -(2**63)])
texts = st.none() | st.sampled_from(["", "a", "tenant", "é", "ab" * 32])
keys = st.none() | st.lists(
    texts.filter(bool)
    | st.tuples(st.sampled_from(["img", "0f" * 32]), st.integers(0, 9)).map(list)
    | st.binary(min_size=1, max_size=4)
    | st.integers(-9, 9),
    max_size=3,
)
media = st.none() | st.sampled_from(["GPU", "gpu", "CPU", "CPU_TIER2", "Disk", "d\u0131sk", "NETWORK", ""])
kinds = st.none() | st.sampled_from(["full_attention", "mla_attention", "sink_full_attention", "mamba"])
groups = st.none() | st.integers(0, 2) | st.sampled_from([63, 64, -1, 2**40])
infos = (
    st.none()
    | st.just([])
    | st.just([{"mm_objects": [{"mm_hash": 5}]}, None])
    | st.just([None, {"x": 1}, 3])
    | st.just([{"mm_objects": [{"mm_hash": True}]}])
)
wrong = st.sampled_from([None, "text", 1.5, True, [b"x"], -1, {}, [2**40]])


@st.composite
def stored(draw: st.DrawFn) -> Any:
    blocks = draw(st.integers(0, 3))
    event = {
        "type": "BlockStored",
        "block_hashes": draw(st.lists(names, min_size=blocks, max_size=blocks)),
        "parent_block_hash": draw(st.none() | names),
        "token_ids": draw(st.lists(st.integers(0, 2), min_size=blocks * BS, max_size=blocks * BS)),
        "block_size": BS,
        "lora_id": draw(st.none() | st.integers(0, 2) | st.sampled_from(["x", "x" * 256, "x" * 257])),
        "medium": draw(media),
        "lora_name": draw(st.none() | st.sampled_from(["", "a"])),
        "extra_keys": draw(st.none() | st.lists(keys, min_size=blocks, max_size=blocks)),
    }
    tail = {
        "cache_salt": draw(texts),
        "block_mm_infos": draw(infos),
        "group_idx": draw(groups),
        "kv_cache_spec_kind": draw(kinds),
        "locality": draw(st.none() | st.sampled_from(["LOCAL", "local", "REMOTE"])),
        "session_id": 3,
    }
    if draw(st.booleans()):
        return (
            list(event.values())
            + [draw(st.just(tail["group_idx"]) | st.just(True)), tail["kv_cache_spec_kind"]][
                : draw(st.integers(0, 2))
            ]
        )
    event |= {key: value for key, value in tail.items() if draw(st.booleans())}
    if draw(st.integers(0, 9)) == 0:
        event[draw(st.sampled_from(sorted(event)))] = draw(wrong)
    return event


removed = st.builds(
    lambda hashes, medium, group: {
        "type": "BlockRemoved", "block_hashes": hashes, "medium": medium, "group_idx": group
    },
    st.lists(names, max_size=3),
    media,
    groups,
)  # fmt: skip
events = st.lists(
    stored()
    | removed
    | removed.map(lambda event: list(event.values()))
    | st.sampled_from(
        [{"type": "AllBlocksCleared"}, ["AllBlocksCleared"], {"type": "New"}, [], {}, 3, ["New"]]
    ),
    max_size=4,
)
messages = st.tuples(st.sampled_from([1.5, 2, "no"]), events, st.sampled_from([0, None, "rank"])).map(list)


def make_routers() -> tuple[ReferenceRouter, NativeRouter]:
    options = RouterOptions(max_blocks=40)
    routers = (ReferenceRouter(options, kvevents.decode), NativeRouter(options))
    for router in routers:
        router.upsert_worker(WorkerSpec(1))
    return routers


@settings(max_examples=300, deadline=None)
@given(st.lists(messages, max_size=4))
def test_both_decoders_agree(batch: list[Any]) -> None:
    reference, native = make_routers()
    for message in batch:
        payload = msgspec.msgpack.encode(message)
        assert native.apply_payload(TARGET, payload, 0.0) == reference.apply_payload(TARGET, payload, 0.0)
    tokens = bytes(4 * BS * 3)
    for lora, salt in (("", ""), ("a", ""), ("", "tenant"), ("lora-id:1", ""), ("lora-id:x", "")):
        question = SelectRequest(tokens, 0.0, 0, lora=lora, salt=salt)
        assert native.measure(question) == reference.measure(question)
    assert native.validate() is None


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=60) | messages.map(msgspec.msgpack.encode).flatmap(
    lambda payload: st.integers(0, len(payload)).map(lambda end: payload[:end])
))  # fmt: skip
def test_any_bytes_are_counted(payload: bytes) -> None:
    reference, native = make_routers()
    assert native.apply_payload(TARGET, payload, 0.0) == reference.apply_payload(TARGET, payload, 0.0)
