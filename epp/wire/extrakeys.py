"""What vLLM hashes into a block besides its tokens, read back from ``BlockStored.extra_keys``.

``extra_keys`` holds one entry per block: null, or an untyped list in this order (vLLM
``v1/core/kv_cache_utils.py``):

1. the LoRA adapter's name, on every block of an adapter's request;
2. for each multimodal item in the block ``[identifier, offset]``; versions before the pair form wrote the
   bare identifier;
3. the cache salt, only on the first block of a sequence;
4. the SHA-256 of prompt embeddings, as bytes.

A name, a bare identifier and a salt are all plain strings, so the place decides: the event's own LoRA name
is taken off first; then the last string of a sequence's first block is its salt, unless the next block
carries the same string, which only an item that spans both can. Anything else becomes an opaque content
hash: such a block must never match a prompt that agrees in tokens alone.
"""

from collections.abc import Sequence
from typing import Any, TypeAlias

import msgspec
import xxhash

from epp.core.blocks import mm_hash_of
from epp.wire.untyped import as_list, as_mapping

ContentHashes: TypeAlias = tuple[tuple[int, ...], ...]
"""Per block, a u64 for each thing other than tokens that is in it; empty: nothing anywhere."""

_MASK64 = (1 << 64) - 1


def read_extra_keys(keys: Sequence[Any], lora: str | None, *, at_root: bool) -> tuple[str, ContentHashes]:
    """The salt and the content hashes of a run of blocks.

    ``at_root``: the run begins a sequence, so its first block may carry the salt. Never raises.
    """
    blocks = [_without_lora(block, lora) for block in keys]
    salt = _take_salt(blocks) if at_root and blocks else ""
    hashes = tuple(tuple(_content_hash(key) for key in block) for block in blocks)
    return salt, hashes if any(hashes) else ()


def read_mm_infos(infos: Sequence[Any]) -> ContentHashes:
    """The content hashes of ``block_mm_infos``: per block null or ``{"mm_objects": [{"mm_hash": u64}]}``."""
    hashes = tuple(_mm_objects(info) for info in infos)
    return hashes if any(hashes) else ()


def _without_lora(block: Any, lora: str | None) -> list[Any]:
    keys = as_list(block) or []
    if keys and lora and keys[0] == lora:
        del keys[0]
    return keys


def _take_salt(blocks: list[list[Any]]) -> str:
    strings = [index for index, key in enumerate(blocks[0]) if isinstance(key, str)]
    if not strings:
        return ""
    candidate = blocks[0][strings[-1]]
    if len(blocks) > 1 and candidate in blocks[1]:
        return ""
    del blocks[0][strings[-1]]
    return str(candidate)


def _content_hash(key: Any) -> int:
    if isinstance(key, str):
        return mm_hash_of(key) or 0
    if isinstance(key, bytes):
        return xxhash.xxh3_64_intdigest(key)
    item = as_list(key)
    if item and isinstance(item[0], str):
        return mm_hash_of(item[0]) or 0
    return xxhash.xxh3_64_intdigest(msgspec.msgpack.encode(key))


def _mm_objects(info: Any) -> tuple[int, ...]:
    objects = as_list((as_mapping(info) or {}).get("mm_objects")) or []
    hashes = ((as_mapping(item) or {}).get("mm_hash") for item in objects)
    return tuple(value & _MASK64 for value in hashes if type(value) is int)
