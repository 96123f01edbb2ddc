"""Events against frames captured from vLLM 0.32."""

from typing import Any

import msgspec

from epp.testing.engine.events import Cleared, Removed, Stored, encode_batch


def decoded(payload: bytes) -> Any:
    return msgspec.msgpack.decode(payload)


def test_a_batch_is_positional_and_its_events_are_maps() -> None:
    stored = Stored((2**63 + 5, 7), None, (1, 2, 3, 4), 2)
    batch = decoded(encode_batch(12.5, [stored, Removed(7), Cleared()], 3))
    assert batch == [
        12.5,
        [
            {
                "type": "BlockStored",
                "block_hashes": [2**63 + 5, 7],
                "parent_block_hash": None,
                "token_ids": [1, 2, 3, 4],
                "block_size": 2,
                "lora_id": None,
                "medium": "GPU",
                "lora_name": None,
                "extra_keys": [None, None],
                "group_idx": 0,
                "kv_cache_spec_kind": "full_attention",
            },
            {"type": "BlockRemoved", "block_hashes": [7], "medium": "GPU", "group_idx": 0},
            {"type": "AllBlocksCleared"},
        ],
        3,
    ]


def test_a_salt_marks_block_0_and_an_adapter_every_block() -> None:
    salted = decoded(encode_batch(0, [Stored((1, 2), None, (1, 2), 1, salt="tenantA")], 0))[1][0]
    assert salted["extra_keys"] == [["tenantA"], None]
    adapted = decoded(encode_batch(0, [Stored((1, 2), None, (1, 2), 1, lora="adA", lora_id=1)], 0))[1][0]
    assert (adapted["extra_keys"], adapted["lora_name"], adapted["lora_id"]) == ([["adA"], ["adA"]], "adA", 1)
