"""Block identity: Dynamo's function, our C and our Python give the same numbers."""

import random
import struct
from typing import Any

import cabi
from cabi import hashing
from epp.core import blocks

from .oracle import Oracle

_NAMES = ("", "", "adapter", "tenant-\u00e9", "x" * 300)
_U32 = (1 << 32) - 1


def _prompts(rng: random.Random, count: int) -> list[dict[str, Any]]:
    def prompt() -> dict[str, Any]:
        block = rng.choice((1, 2, 3, 4, 5, 8, 16, 17, 32, 61, 64, 128, 256))
        top = rng.choice((1, 200, 150_000, _U32))
        return {
            "tokens": [rng.randint(0, top) for _ in range(rng.randint(0, 12 * block + 5))],
            "kv_block_size": block,
            "lora_name": rng.choice(_NAMES) or None,
            "cache_namespace": rng.choice(_NAMES) or None,
            "is_eagle": rng.random() < 0.2,
        }

    return [prompt() for _ in range(count)]


def _mm(rng: random.Random, prompt: dict[str, Any]) -> tuple[tuple[int, ...], ...]:
    """Hashes of the items in each full block; sets the wheel's form of them in the prompt."""
    count = len(prompt["tokens"]) // prompt["kv_block_size"]
    hashes = tuple(tuple(rng.getrandbits(64) for _ in range(rng.randint(0, 3))) for _ in range(count))
    infos = [{"mm_objects": [{"mm_hash": one, "offsets": []} for one in block]} for block in hashes]
    prompt["block_mm_infos"] = [info if info["mm_objects"] else None for info in infos]
    return hashes


def _ours(prompt: dict[str, Any], mm: tuple[tuple[int, ...], ...] = ()) -> tuple[list[int], list[int]]:
    """Local hashes from C and from Python."""
    tokens = struct.pack(f"<{len(prompt['tokens'])}I", *prompt["tokens"])
    lora, salt = prompt["lora_name"] or "", prompt["cache_namespace"] or ""
    seed, block = blocks.namespace_seed(lora, salt), prompt["kv_block_size"]
    assert seed == cabi.namespace_seed(lora, salt)
    native, _ = hashing.hash_blocks(tokens, block, seed, mm_hashes=mm, eagle=prompt["is_eagle"])
    if prompt["is_eagle"]:
        return list(native), blocks.eagle_local_hashes(tokens, block, seed)
    return list(native), blocks.local_hashes(tokens, block, seed, mm)


def test_local_hashes_are_dynamos(oracle: Oracle, scale: int) -> None:
    rng = random.Random("hashes")
    prompts = _prompts(rng, 3000 * scale)
    theirs = oracle.ask("hash", prompts=prompts)
    compared = 0
    for prompt, expected in zip(prompts, theirs, strict=True):
        assert _ours(prompt) == (expected, expected), prompt
        compared += len(expected)
    assert compared > 5000


def test_hashes_of_blocks_with_images_are_dynamos(oracle: Oracle, scale: int) -> None:
    rng = random.Random("images")
    prompts = [{**prompt, "is_eagle": False} for prompt in _prompts(rng, 500 * scale)]
    items = [_mm(rng, prompt) for prompt in prompts]
    theirs = oracle.ask("hash", prompts=prompts)
    for prompt, mm, expected in zip(prompts, items, theirs, strict=True):
        assert _ours(prompt, mm) == (expected, expected), prompt
