"""TensorRT-LLM's KV-cache events as JSON, to core events.

``trtllm-serve`` answers ``POST /kv_cache_events`` with a list of what happened since the last call (source:
``tensorrt_llm/_utils.py``, ``KVCacheEventSerializer``, and ``tensorrt_llm/serve/openai_server.py``)::

    {"event_id": n, "window_size": w, "attention_dp_rank": r?, "data":
       {"type": "created", "num_blocks_per_cache_level": [device, host]}
     | {"type": "stored", "parent_hash": h?, "blocks": [{"type": "stored_block", "block_hash": h,
          "tokens": [{"token_id": t, "token_extra_id": x}], "cache_level": 0 | 1, "mm_keys": [...]?}]}
     | {"type": "removed", "block_hashes": [h]}
     | {"type": "updated", "block_hash": h, "cache_level": {"new_value": 1, "old_value": 0} | null}}

Differences from the ZMQ events that :class:`Translator` evens out, with a memory of the blocks it has seen:

* Nothing says the block size. It is learnt from the first block that another one follows, which must be
  full; blocks seen before that, and partial ones, are left out.
* ``updated`` moves a block between levels without repeating its tokens; ``removed`` does not say the level.
* With sliding windows every window size has its own events; only the largest window is the main cache.
* LoRA ids are not published, so adapters' blocks cannot be told apart from the base model's.
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

from epp.core.blocks import mm_hash_of
from epp.core.router import BlocksRemoved, BlocksStored, KvEvent, Tier
from epp.wire.tokens import TokenRangeError, flat_tokens
from epp.wire.untyped import as_mapping

MAX_REMEMBERED_BLOCKS = 1 << 20
"""Blocks one translator remembers; more are left out (reason ``capacity``). Far beyond one engine's cache."""

_MASK64 = (1 << 64) - 1
_TIERS = (Tier.DEVICE, Tier.HOST)


class _Token(msgspec.Struct):
    token_id: int
    token_extra_id: int = 0


class _Block(msgspec.Struct):
    block_hash: int
    tokens: list[_Token]
    cache_level: int = 0
    mm_keys: list[Any] | None = None


class _Created(msgspec.Struct, tag_field="type", tag="created"):
    pass


class _Stored(msgspec.Struct, tag_field="type", tag="stored"):
    blocks: list[_Block]
    parent_hash: int | None = None


class _Removed(msgspec.Struct, tag_field="type", tag="removed"):
    block_hashes: list[int]


class _Diff(msgspec.Struct):
    new_value: int | None = None


class _Updated(msgspec.Struct, tag_field="type", tag="updated"):
    block_hash: int
    cache_level: _Diff | None = None


class _Event(msgspec.Struct):
    data: _Created | _Stored | _Removed | _Updated
    event_id: int
    window_size: int | None = None
    attention_dp_rank: int | None = None


_list_decoder = msgspec.json.Decoder(list[msgspec.Raw])
_event_decoder = msgspec.json.Decoder(_Event)


@dataclass(frozen=True, slots=True)
class RankEvents:
    """What one poll says of one rank."""

    rank: int
    lost: bool
    """Event ids are missing or began anew: what was known of the rank cannot be trusted any more."""
    events: tuple[KvEvent, ...]


@dataclass(frozen=True, slots=True)
class Translated:
    """One poll, read."""

    ranks: tuple[RankEvents, ...]
    ignored: tuple[tuple[str, int], ...]
    """(reason, count) with the reasons of ``epp.wire.kvevents`` and ``block-size``, ``capacity``."""


@dataclass(slots=True)
class _Known:
    """A block seen stored."""

    parent: int | None
    tokens: bytes
    contents: tuple[int, ...]
    tier: Tier


@dataclass(slots=True)
class _Rank:
    next_id: int | None = None
    blocks: dict[int, _Known] = field(default_factory=dict[int, _Known])
    events: list[KvEvent] = field(default_factory=list[KvEvent])
    lost: bool = False


class Translator:
    """Turns the polls of one worker into core events; see the module's preface."""

    def __init__(self) -> None:
        self._ranks: dict[int, _Rank] = {}
        self._window = 0
        self._block_tokens = 0
        self._ignored = Counter[str]()

    def read(self, body: bytes) -> Translated:
        """One answer of the engine. Raises ValueError if it is no JSON list; a bad event is counted."""
        try:
            raws = _list_decoder.decode(body)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise ValueError("kv_cache_events: not a JSON list") from error
        for raw in raws:
            try:
                self._take(_event_decoder.decode(raw))
            except (msgspec.MsgspecError, ValueError, RecursionError):
                self._ignored["malformed"] += 1
        return self._drain()

    def forget(self) -> None:
        """Start anew: the engine's process changed."""
        self._ranks.clear()

    def _drain(self) -> Translated:
        touched = [(number, rank) for number, rank in sorted(self._ranks.items()) if rank.events or rank.lost]
        ranks = tuple(RankEvents(number, rank.lost, tuple(rank.events)) for number, rank in touched)
        for _, rank in touched:
            rank.events, rank.lost = [], False
        ignored = tuple(sorted(self._ignored.items()))
        self._ignored.clear()
        return Translated(ranks, ignored)

    def _take(self, event: _Event) -> None:
        rank = self._ranks.setdefault(event.attention_dp_rank or 0, _Rank())
        self._check_id(rank, event.event_id)
        self._window = max(self._window, event.window_size or 0)
        if event.window_size is not None and event.window_size < self._window:
            self._ignored["kind"] += 1
            return
        match event.data:
            case _Stored(blocks=blocks, parent_hash=parent):
                self._store(rank, blocks, parent)
            case _Removed(block_hashes=hashes):
                for value in hashes:
                    self._remove(rank, value & _MASK64)
            case _Updated(block_hash=value, cache_level=_Diff(new_value=int(level))):
                self._move(rank, value & _MASK64, level)
            case _Created() | _Updated():
                pass  # pool sizes come from the metrics page; priorities do not matter here

    def _check_id(self, rank: _Rank, event_id: int) -> None:
        if rank.next_id is not None and event_id != rank.next_id:
            rank.blocks.clear()
            rank.events.clear()
            rank.lost = True
        rank.next_id = event_id + 1

    def _store(self, rank: _Rank, blocks: list[_Block], parent: int | None) -> None:
        if len(blocks) > 1 and not self._block_tokens:
            self._block_tokens = len(blocks[0].tokens)
        before = None if parent is None else parent & _MASK64
        for block in blocks:
            problem = self._store_one(rank, block, before)
            if problem is not None:
                self._ignored[problem] += 1
                return  # what follows would hang in the air
            before = block.block_hash & _MASK64

    def _store_one(
        self, rank: _Rank, block: _Block, parent: int | None
    ) -> Literal["block-size", "capacity", "malformed"] | None:
        if not self._block_tokens or len(block.tokens) != self._block_tokens:
            return "block-size"
        if len(rank.blocks) >= MAX_REMEMBERED_BLOCKS:
            return "capacity"
        try:
            tokens = flat_tokens([token.token_id for token in block.tokens])
        except TokenRangeError:
            return "malformed"
        known = _Known(parent, tokens, _contents(block), _tier(block.cache_level))
        rank.blocks[block.block_hash & _MASK64] = known
        rank.events.append(self._stored(block.block_hash & _MASK64, known))
        return None

    def _stored(self, name: int, known: _Known) -> BlocksStored:
        return BlocksStored(
            engine_hashes=(name,),
            parent_engine_hash=known.parent,
            tokens=known.tokens,
            block_tokens=self._block_tokens,
            tier=known.tier,
            mm_hashes=(known.contents,) if known.contents else (),
        )

    def _remove(self, rank: _Rank, name: int) -> None:
        known = rank.blocks.pop(name, None)
        if known is not None:
            rank.events.append(BlocksRemoved((name,), known.tier))

    def _move(self, rank: _Rank, name: int, level: int) -> None:
        known = rank.blocks.get(name)
        if known is None or known.tier == _tier(level):
            return
        removed = BlocksRemoved((name,), known.tier)
        known.tier = _tier(level)
        rank.events += [self._stored(name, known), removed]


def _tier(level: int) -> Tier:
    return _TIERS[level] if 0 <= level < len(_TIERS) else Tier.EXTERNAL


def _contents(block: _Block) -> tuple[int, ...]:
    """Content hashes of the multimodal items: of their digests where given, else of the extra token ids
    that stand in for them."""
    if block.mm_keys:
        digests = ((as_mapping(key) or {}).get("hash") for key in block.mm_keys)
        return tuple(mm_hash_of(str(digest)) or 0 for digest in digests)
    return tuple(dict.fromkeys(t.token_extra_id & _MASK64 for t in block.tokens if t.token_extra_id))
