"""Engine messages to core events, from golden payloads and the rules one by one."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from epp.core.router import BlocksCleared, BlocksRemoved, BlocksStored, KvEvent, Tier
from epp.wire.kvevents import decode
from epp.wire.tokens import flat_tokens

GOLDEN = sorted((Path(__file__).parents[2] / "golden" / "kvevents").glob("*.json"))


def event_from(record: dict[str, Any]) -> KvEvent:
    if record["kind"] == "cleared":
        return BlocksCleared()
    hashes = tuple(int(text) for text in record["hashes"])
    tier = Tier[record["tier"]]
    if record["kind"] == "removed":
        return BlocksRemoved(hashes, tier)
    return BlocksStored(
        engine_hashes=hashes,
        parent_engine_hash=None if record["parent"] is None else int(record["parent"]),
        tokens=flat_tokens(record["tokens"]),
        block_tokens=record["block_tokens"],
        tier=tier,
        lora=record["lora"],
        salt=record["salt"],
        mm_hashes=tuple(tuple(int(text) for text in block) for block in record["mm_hashes"]),
    )


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_golden_payload(path: Path) -> None:
    record = json.loads(path.read_text())
    decoded = decode(bytes.fromhex(record["payload_hex"]))
    assert decoded.events == tuple(event_from(event) for event in record["events"])
    assert decoded.ignored == tuple((reason, count) for reason, count in record["ignored"])


def batch(*events: Any, rank: Any = 0) -> bytes:
    return msgspec.msgpack.encode([1.5, list(events), rank])


def stored_map(**changes: Any) -> dict[str, Any]:
    event = {"type": "BlockStored", "block_hashes": [1], "token_ids": [10, 11], "block_size": 2}
    return {**event, **changes}


def test_both_forms_mix_in_one_batch_and_keep_their_order() -> None:
    decoded = decode(batch(["BlockRemoved", [5], "GPU"], stored_map(), ["AllBlocksCleared"], rank=3))
    assert [type(event) for event in decoded.events] == [BlocksRemoved, BlocksStored, BlocksCleared]
    assert (decoded.rank, decoded.ts) == (3, 1.5)


@pytest.mark.parametrize(
    ("medium", "tier"),
    [
        (None, Tier.DEVICE),
        ("gpu", Tier.DEVICE),
        ("CPU_TIER1", Tier.HOST),
        ("CPU_TIER2", Tier.DISK),
        ("NVME", Tier.DISK),
        ("STORAGE", Tier.DISK),
        ("NETWORK", Tier.EXTERNAL),
        ("who knows", Tier.EXTERNAL),
    ],
)
def test_tier_by_medium(medium: str | None, tier: Tier) -> None:
    (event,) = decode(batch(stored_map(medium=medium))).events
    assert isinstance(event, BlocksStored)
    assert event.tier is tier


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        ({"type": "BlockMoved"}, "unknown-type"),
        (["BlockMoved", 1], "unknown-type"),
        ({"block_hashes": [1]}, "malformed"),
        (7, "malformed"),
        (None, "malformed"),
        (stored_map(token_ids=[1, 2, 3]), "malformed"),
        (stored_map(token_ids=[1, 1 << 32]), "malformed"),
        (stored_map(token_ids=[1, -1]), "malformed"),
        (stored_map(block_size=0, token_ids=[]), "malformed"),
        (stored_map(block_hashes=["a"]), "malformed"),
        (stored_map(block_mm_infos=[None, {"mm_objects": [{"mm_hash": 1}]}]), "malformed"),
        (stored_map(kv_cache_spec_kind="sliding_window"), "kind"),
        (["BlockRemoved", [b"x" * 32], "GPU"], "hash-form"),
    ],
)
def test_what_cannot_be_used_is_counted_and_the_rest_applies(event: Any, reason: str) -> None:
    decoded = decode(batch(event, stored_map()))
    assert len(decoded.events) == 1
    assert decoded.ignored == ((reason, 1),)


@pytest.mark.parametrize(
    "payload", [b"", b"\xc1", b"\x93", msgspec.msgpack.encode({"ts": 1}), b"\x91" * 5000]
)
def test_a_payload_that_is_no_batch_is_one_malformed_message(payload: bytes) -> None:
    decoded = decode(payload)
    assert decoded.events == ()
    assert decoded.ignored == (("malformed", 1),)


def test_a_foreign_groups_removals_stay_out_over_messages() -> None:
    groups: set[int] = set()
    decode(batch(stored_map(group_idx=2, kv_cache_spec_kind="mamba")), groups)
    removal = {"type": "BlockRemoved", "block_hashes": [1], "group_idx": 2}
    assert decode(batch(removal), groups).ignored == (("kind", 1),)
    assert decode(batch({**removal, "group_idx": 0}), groups).events == (BlocksRemoved((1,)),)


def test_positional_tail_is_told_apart_by_type() -> None:
    head = ["BlockStored", [1], None, [10, 11], 2, None, "GPU", None, None]
    assert decode(batch([*head, 0, "mamba", 128])).ignored == (("kind", 1),)
    infos = [{"mm_objects": [{"mm_hash": 9}]}]
    (event,) = decode(batch([*head, infos, 0, "full_attention"])).events
    assert isinstance(event, BlocksStored)
    assert event.mm_hashes == ((9,),)
