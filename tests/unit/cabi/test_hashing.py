"""Hashes against the reference package and the shared golden vectors."""

import json
import random
from array import array
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xxhash

import cabi
from cabi.status import ArgumentError

GOLDEN = Path(__file__).parents[2] / "golden" / "hashes"
SEEDS = (0, 1, 1337, 2**63, 2**64 - 1)
BLOCKS = json.loads((GOLDEN / "blocks.json").read_text())["vectors"]
NAMES = json.loads((GOLDEN / "names.json").read_text())


def test_xxh3_of_every_length_class() -> None:
    source = random.Random(7).randbytes(70_000)
    lengths = [*range(1500), 2047, 2048, 2049, 4096, 9999, 65_536, 70_000]
    for length in lengths:
        data = source[-length:] if length else b""
        for seed in SEEDS:
            assert cabi.xxh3_64(data, seed) == xxhash.xxh3_64_intdigest(data, seed), (length, seed)


@pytest.mark.parametrize("vector", BLOCKS, ids=lambda vector: str(vector["id"]))
def test_golden_blocks(vector: dict[str, Any]) -> None:
    tokens = array("I", (first + i * step for first, count, step in vector["tokens"] for i in range(count)))
    seed = cabi.namespace_seed(vector.get("lora", ""), vector.get("salt", ""))
    mm_hashes = [[int(item) for item in block] for block in vector.get("mm_hashes", ())]
    local, chain = cabi.hash_blocks(
        tokens, vector["block_tokens"], seed, mm_hashes=mm_hashes, eagle=vector.get("eagle", False)
    )
    assert [str(value) for value in local] == vector["local"]
    if "sequence" in vector:
        assert [str(value) for value in chain] == vector["sequence"]


def test_golden_seed_parts() -> None:
    for row in NAMES["seed_parts"]:
        part = cabi.namespace_seed(row.get("lora", ""), row.get("salt", "")) - 1337
        assert part % 2**64 == int(row["part"])


def test_worker_ids_are_exact_in_json() -> None:
    worker = cabi.worker_id("default/vllm-0")
    assert worker == xxhash.xxh3_64_intdigest(b"default/vllm-0", 1337) % 2**53


def test_any_buffer_is_read_in_place() -> None:
    tokens = array("I", range(64))
    expected = cabi.hash_blocks(tokens, 16, 1337)
    shifted = b"x" + tokens.tobytes()
    for same in (tokens.tobytes(), bytearray(tokens), memoryview(shifted)[1:], np.arange(64, dtype="<u4")):
        assert cabi.hash_blocks(same, 16, 1337) == expected


@pytest.mark.parametrize(
    ("tokens", "block_tokens", "mm_hashes"),
    [(b"\0" * 8, 0, ()), (b"\0" * 8, 2**20 + 1, ()), (b"\0" * 7, 1, ()), (b"\0" * 8, 1, ((1,),))],
)
def test_refused_arguments(tokens: bytes, block_tokens: int, mm_hashes: tuple[tuple[int, ...], ...]) -> None:
    with pytest.raises(ArgumentError):
        cabi.hash_blocks(tokens, block_tokens, 1337, mm_hashes=mm_hashes)
