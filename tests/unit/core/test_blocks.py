"""Block identity against vectors recorded from its origin (tests/golden/hashes)."""

import json
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from epp.core import blocks

GOLDEN = Path(__file__).parents[2] / "golden" / "hashes"
VECTORS = json.loads((GOLDEN / "blocks.json").read_text())["vectors"]
NAMES = json.loads((GOLDEN / "names.json").read_text())


def flat(runs: list[tuple[int, int, int]]) -> bytes:
    values = [first + i * step for first, count, step in runs for i in range(count)]
    return struct.pack(f"<{len(values)}I", *values)


def numbers(texts: list[str]) -> list[int]:
    return [int(text) for text in texts]


@pytest.mark.parametrize("vector", VECTORS, ids=lambda v: f"vector-{v['id']}")
def test_local_and_sequence_hashes_match_the_vectors(vector: dict[str, Any]) -> None:
    tokens = flat(vector["tokens"])
    seed = blocks.namespace_seed(vector.get("lora", ""), vector.get("salt", ""))
    if vector.get("eagle"):
        local = blocks.eagle_local_hashes(tokens, vector["block_tokens"], seed)
    else:
        mm_hashes = [numbers(items) for items in vector.get("mm_hashes", ())]
        local = blocks.local_hashes(tokens, vector["block_tokens"], seed, mm_hashes)
    assert local == numbers(vector["local"])
    if "seed" in vector:
        assert seed == int(vector["seed"])
    if "sequence" in vector:
        assert blocks.sequence_hashes(local) == numbers(vector["sequence"])
        assert blocks.prompt_hashes(tokens, vector["block_tokens"], seed) == numbers(vector["sequence"])
    if "sequence_signed" in vector:
        signed = numbers(vector["sequence_signed"])
        assert [value % 2**64 for value in signed] == numbers(vector["sequence"])


def test_every_vector_of_the_list_is_there() -> None:
    numbers_of_names = [v["id"] for key, rows in NAMES.items() if key != "origin" for v in rows if "id" in v]
    ids = {v["id"] for v in VECTORS} | set(numbers_of_names)
    assert ids == set(range(1, 24))


@pytest.mark.parametrize("row", NAMES["seed_parts"], ids=str)
def test_a_namespace_adds_its_part_to_the_base_seed(row: dict[str, Any]) -> None:
    seed = blocks.namespace_seed(row.get("lora", ""), row.get("salt", ""))
    assert seed == (1337 + int(row["part"])) % 2**64


def test_multimodal_numbers_match_the_vectors() -> None:
    for row in NAMES["mm_pad_token"]:
        assert blocks.mm_pad_token(int(row["mm_hash"])) == int(row["token"])
    for row in NAMES["mm_hash"]:
        expected = None if row["hash"] is None else int(row["hash"])
        assert blocks.mm_hash_of(row["identifier"]) == expected


def test_sixty_four_characters_that_are_no_digest_are_hashed() -> None:
    assert blocks.mm_hash_of("_" * 64) == blocks.mm_hash_of("_" * 64)
    assert blocks.mm_hash_of("0" * 63 + " ") not in (0, None)


@pytest.mark.parametrize("row", NAMES["worker_id"], ids=str)
def test_worker_ids_are_stable_and_exact_in_json(row: dict[str, Any]) -> None:
    worker_id = blocks.worker_id_of(row["namespace"], row["name"])
    assert worker_id == int(row["worker_id"])
    assert float(worker_id) == worker_id


def test_mm_hashes_must_describe_every_block() -> None:
    with pytest.raises(ValueError, match="1 blocks of 2"):
        blocks.local_hashes(bytes(8), 1, mm_hashes=[[1]])


@given(st.binary(max_size=256), st.integers(1, 9))
def test_a_longer_prompt_only_adds_hashes(tokens: bytes, block_tokens: int) -> None:
    tokens = tokens[: len(tokens) // 4 * 4]
    longer = blocks.prompt_hashes(tokens + b"more", block_tokens)
    shorter = blocks.prompt_hashes(tokens, block_tokens)
    assert longer[: len(shorter)] == shorter
    assert len(shorter) == len(tokens) // 4 // block_tokens


@given(st.lists(st.integers(0, 2**64 - 1), max_size=8), st.integers(0, 8))
def test_a_chain_continues_from_its_parent(local: list[int], cut: int) -> None:
    whole = blocks.sequence_hashes(local)
    head = whole[:cut]
    assert head + blocks.sequence_hashes(local[cut:], head[-1] if head else None) == whole


@given(st.binary(max_size=64).map(lambda raw: raw[: len(raw) // 4 * 4]), st.integers(1, 4))
def test_a_memoryview_of_tokens_hashes_like_bytes(tokens: bytes, block_tokens: int) -> None:
    view = memoryview(tokens).cast("I")
    assert blocks.local_hashes(view, block_tokens) == blocks.local_hashes(tokens, block_tokens)
