"""KV-cache events as vLLM publishes them since 0.28: msgpack maps with a ``type`` inside a positional batch.

Format: ``vllm/distributed/kv_events.py`` as captured from 0.32; a batch is ``[ts, [event, ...], rank]``.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

import msgspec


@dataclass(frozen=True, slots=True)
class Stored:
    """A run of full blocks got content; the first one follows ``parent``."""

    hashes: tuple[int, ...]
    parent: int | None
    tokens: tuple[int, ...]
    block_tokens: int
    lora: str | None = None
    lora_id: int | None = None
    salt: str | None = None
    """Set only when the run begins at the root: vLLM mixes a salt into block 0 alone."""


@dataclass(frozen=True, slots=True)
class Removed:
    """One copy of a block was evicted."""

    hash: int


@dataclass(frozen=True, slots=True)
class Cleared:
    """The whole cache was reset."""


CacheEvent: TypeAlias = Stored | Removed | Cleared

_MEDIUM = "GPU"
_GROUP = {"group_idx": 0}
_encoder = msgspec.msgpack.Encoder()


def _extra_keys(event: Stored) -> list[list[str] | None]:
    """Per block, what was hashed besides tokens: the adapter on every block, the salt on block 0."""
    lora = [event.lora] if event.lora else []
    keys = [list(lora) for _ in event.hashes]
    if event.salt and keys:
        keys[0].append(event.salt)
    return [key or None for key in keys]


def as_map(event: CacheEvent) -> dict[str, Any]:
    """The map vLLM encodes for ``event``."""
    match event:
        case Stored():
            return {
                "type": "BlockStored",
                "block_hashes": list(event.hashes),
                "parent_block_hash": event.parent,
                "token_ids": list(event.tokens),
                "block_size": event.block_tokens,
                "lora_id": event.lora_id,
                "medium": _MEDIUM,
                "lora_name": event.lora,
                "extra_keys": _extra_keys(event),
                **_GROUP,
                "kv_cache_spec_kind": "full_attention",
            }
        case Removed():
            return {"type": "BlockRemoved", "block_hashes": [event.hash], "medium": _MEDIUM, **_GROUP}
        case Cleared():
            return {"type": "AllBlocksCleared"}


def encode_batch(unix_s: float, events: Iterable[CacheEvent], rank: int) -> bytes:
    """One message payload: everything one step did to the cache, in order."""
    return _encoder.encode([unix_s, [as_map(event) for event in events], rank])
