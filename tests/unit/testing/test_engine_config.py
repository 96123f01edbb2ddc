"""Configurations that make no engine."""

import pytest

from epp.testing.engine import EngineConfig


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"block_tokens": 0}, "block_tokens"),
        ({"prefill_tokens_per_s": -1.0}, "prefill_tokens_per_s"),
        ({"max_num_batched_tokens": 8, "max_num_seqs": 9}, "max_num_batched_tokens"),
        ({"total_blocks": 64, "block_tokens": 32, "max_model_len": 2048}, "total_blocks"),
    ],
)
def test_impossible_sizes_are_refused(changes: dict[str, float], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        EngineConfig(**changes)  # type: ignore[arg-type] -- the cases mix types on purpose


def test_one_null_block_is_never_used() -> None:
    assert EngineConfig(total_blocks=65, block_tokens=32, max_model_len=2048).usable_blocks == 64
