"""KV-cache events: one ZMQ message of vLLM, SGLang or Dynamo's mocker to core events.

A payload is msgpack ``[ts, [event, ...], data_parallel_rank]``. An event is a map with a ``type`` (vLLM from
0.24 on, SGLang, Dynamo) or an array whose first item is the type (vLLM up to 0.16); both may occur in one
stream. Keys that are missing count as null and keys that are not known are ignored, because every engine
version adds some. :func:`decode` is total: whatever it cannot use is left out and counted by reason, and
the rest of the batch still applies, in order.

Reasons: ``malformed`` (does not have the shape above), ``unknown-type``, ``hash-form`` (hashes as byte
strings: the engine runs with ``VLLM_KV_EVENTS_USE_INT_BLOCK_HASHES=0``), ``kind`` (not the main attention's
cache, so no measure of prefix reuse; or of a cache group outside 0 .. 63, of which no memory is kept),
``locality`` (the block is held elsewhere, not by this worker).
"""

from collections import Counter
from typing import Any, Literal, TypeAlias

import msgspec

from epp.core.router import BlocksCleared, BlocksRemoved, BlocksStored, DecodedPayload, KvEvent, Tier
from epp.wire.extrakeys import ContentHashes, read_extra_keys, read_mm_infos
from epp.wire.tokens import TokenRangeError, flat_tokens
from epp.wire.untyped import as_list

_TIERS = {
    "GPU": Tier.DEVICE,
    "DEVICE": Tier.DEVICE,
    "CPU": Tier.HOST,
    "CPU_PINNED": Tier.HOST,
    "CPU_TIER1": Tier.HOST,
    "CPU_TIER2": Tier.DISK,
    "DISK": Tier.DISK,
    "NVME": Tier.DISK,
    "STORAGE": Tier.DISK,
}
"""Tier by medium; any other medium is EXTERNAL, the farthest: a name not known must not raise a score."""

_MAIN_KINDS = frozenset({None, "full_attention", "mla_attention", "sink_full_attention"})
_HERE = frozenset({None, "LOCAL"})
_MASK64 = (1 << 64) - 1
_MAX_BLOCK_TOKENS = 1 << 16
_MAX_GROUPS = 64
_MAX_LORA_ID_BYTES = 256

_Hash: TypeAlias = int | bytes


class _StoredFields(msgspec.Struct):
    """Fields both forms share, in positional order."""

    block_hashes: list[_Hash]
    parent_block_hash: _Hash | None
    token_ids: list[int]
    block_size: int
    lora_id: int | str | None = None
    medium: str | None = None
    lora_name: str | None = None
    extra_keys: list[Any] | None = None


class _StoredArray(_StoredFields, array_like=True, tag="BlockStored"):
    """The tail differs between publishers (some put ``block_mm_infos`` first), so its types tell."""

    tail_0: Any = None
    tail_1: Any = None
    tail_2: Any = None
    tail_3: Any = None


class _StoredMap(msgspec.Struct, tag_field="type", tag="BlockStored"):
    block_hashes: list[_Hash]
    token_ids: list[int]
    block_size: int
    parent_block_hash: _Hash | None = None
    lora_id: int | str | None = None
    medium: str | None = None
    lora_name: str | None = None
    extra_keys: list[Any] | None = None
    cache_salt: str | None = None
    block_mm_infos: list[Any] | None = None
    group_idx: int | None = None
    kv_cache_spec_kind: str | None = None
    locality: str | None = None


class _RemovedArray(msgspec.Struct, array_like=True, tag="BlockRemoved"):
    block_hashes: list[_Hash]
    medium: str | None = None
    group_idx: int | None = None


class _RemovedMap(msgspec.Struct, tag_field="type", tag="BlockRemoved"):
    block_hashes: list[_Hash]
    medium: str | None = None
    group_idx: int | None = None
    locality: str | None = None


class _ClearedArray(msgspec.Struct, array_like=True, tag="AllBlocksCleared"):
    pass


class _ClearedMap(msgspec.Struct, tag_field="type", tag="AllBlocksCleared"):
    pass


class _Batch(msgspec.Struct, array_like=True):
    ts: float
    events: list[msgspec.Raw]
    rank: int | None = None


class _TypeOfMap(msgspec.Struct):
    type: str


class _TypeOfArray(msgspec.Struct, array_like=True):
    type: str


_Event: TypeAlias = _StoredMap | _StoredArray | _RemovedMap | _RemovedArray | _ClearedMap | _ClearedArray
_Reason: TypeAlias = Literal["malformed", "unknown-type", "hash-form", "kind", "locality"]

_batch_decoder = msgspec.msgpack.Decoder(_Batch)
_map_decoder = msgspec.msgpack.Decoder(_StoredMap | _RemovedMap | _ClearedMap)
_array_decoder = msgspec.msgpack.Decoder(_StoredArray | _RemovedArray | _ClearedArray)
_map_type_decoder = msgspec.msgpack.Decoder(_TypeOfMap)
_array_type_decoder = msgspec.msgpack.Decoder(_TypeOfArray)
_KNOWN_TYPES = frozenset({"BlockStored", "BlockRemoved", "AllBlocksCleared"})
_DECODE_ERRORS = (msgspec.MsgspecError, ValueError, RecursionError)
"""All msgspec raises on foreign bytes; ValueError covers text that is not UTF-8."""


class _Unusable(Exception):  # noqa: N818 -- not an error: an event to leave out
    def __init__(self, reason: _Reason) -> None:
        super().__init__(reason)
        self.reason = reason


def decode(payload: bytes, foreign_groups: set[int] | None = None) -> DecodedPayload:
    """One engine message as core events.

    ``foreign_groups`` is the caller's memory of one stream: cache groups seen to hold another kind of
    attention. Engines with several groups name a block alike in each, and a removal says only the group,
    so a removal from such a group must not touch the main one.
    """
    try:
        batch = _batch_decoder.decode(payload)
    except _DECODE_ERRORS:
        return DecodedPayload(events=(), rank=None, ts=0.0, ignored=(("malformed", 1),))
    groups = set[int]() if foreign_groups is None else foreign_groups
    events: list[KvEvent] = []
    ignored = Counter[str]()
    for raw in batch.events:
        try:
            events.append(_core_event(_event_of(raw), groups))
        except _Unusable as unusable:
            ignored[unusable.reason] += 1
    return DecodedPayload(
        events=tuple(events), rank=batch.rank, ts=batch.ts, ignored=tuple(sorted(ignored.items()))
    )


def _event_of(raw: msgspec.Raw) -> _Event:
    is_array = _is_array(memoryview(raw)[0])
    try:
        event: _Event = _array_decoder.decode(raw) if is_array else _map_decoder.decode(raw)
        return event
    except _DECODE_ERRORS:
        pass
    try:
        kind = (_array_type_decoder if is_array else _map_type_decoder).decode(raw).type
    except _DECODE_ERRORS:
        raise _Unusable("malformed") from None
    raise _Unusable("malformed" if kind in _KNOWN_TYPES else "unknown-type")


def _is_array(first_byte: int) -> bool:
    """Whether a msgpack value is an array, by its first byte (fixarray, array 16, array 32)."""
    return first_byte & 0xF0 == 0x90 or first_byte in (0xDC, 0xDD)


def _core_event(event: _Event, groups: set[int]) -> KvEvent:
    if isinstance(event, _StoredArray):
        return _stored(_as_map(event), groups)
    if isinstance(event, _StoredMap):
        return _stored(event, groups)
    if isinstance(event, _RemovedArray | _RemovedMap):
        return _removed(event, groups)
    return BlocksCleared()


def _as_map(event: _StoredArray) -> _StoredMap:
    """Give the positional tail its names: a list is ``block_mm_infos``, the first number the group, the
    first text the kind; the sliding window behind them is not needed."""
    tail = (event.tail_0, event.tail_1, event.tail_2, event.tail_3)
    return _StoredMap(
        block_hashes=event.block_hashes,
        parent_block_hash=event.parent_block_hash,
        token_ids=event.token_ids,
        block_size=event.block_size,
        lora_id=event.lora_id,
        medium=event.medium,
        lora_name=event.lora_name,
        extra_keys=event.extra_keys,
        block_mm_infos=next((item for item in map(as_list, tail) if item is not None), None),
        group_idx=next((item for item in tail if isinstance(item, int) and not isinstance(item, bool)), None),
        kv_cache_spec_kind=next((item for item in tail if isinstance(item, str)), None),
    )


def _stored(event: _StoredMap, groups: set[int]) -> BlocksStored:
    _check_lora_id(event.lora_id)
    _check_group(event.group_idx)
    if event.kv_cache_spec_kind not in _MAIN_KINDS:
        if event.group_idx is not None:
            groups.add(event.group_idx)
        raise _Unusable("kind")
    _check_locality(event.locality)
    hashes = _names(event.block_hashes)
    parent = None if event.parent_block_hash is None else _names([event.parent_block_hash])[0]
    lora = event.lora_name or (f"lora-id:{event.lora_id}" if event.lora_id else "")
    salt, contents = _extras(event, lora, at_root=parent is None)
    return BlocksStored(
        engine_hashes=hashes,
        parent_engine_hash=parent,
        tokens=_flat_tokens(event.token_ids, len(hashes), event.block_size),
        block_tokens=event.block_size,
        tier=_tier(event.medium),
        lora=lora,
        salt=salt,
        mm_hashes=contents,
    )


def _extras(event: _StoredMap, lora: str, *, at_root: bool) -> tuple[str, ContentHashes]:
    salt = ""
    contents: ContentHashes = ()
    if event.extra_keys:
        salt, contents = read_extra_keys(event.extra_keys, lora, at_root=at_root)
    if event.block_mm_infos:
        contents = read_mm_infos(event.block_mm_infos)
    if contents and len(contents) != len(event.block_hashes):
        raise _Unusable("malformed")
    return event.cache_salt or salt, contents


def _removed(event: _RemovedArray | _RemovedMap, groups: set[int]) -> BlocksRemoved:
    _check_group(event.group_idx)
    if event.group_idx in groups:
        raise _Unusable("kind")
    if isinstance(event, _RemovedMap):
        _check_locality(event.locality)
    return BlocksRemoved(engine_hashes=_names(event.block_hashes), tier=_tier(event.medium))


def _check_group(group: int | None) -> None:
    if group is not None and not 0 <= group < _MAX_GROUPS:
        raise _Unusable("kind")


def _check_locality(locality: str | None) -> None:
    if locality is not None and _ascii_upper(locality) not in _HERE:
        raise _Unusable("locality")


def _tier(medium: str | None) -> Tier:
    return Tier.DEVICE if medium is None else _TIERS.get(_ascii_upper(medium), Tier.EXTERNAL)


def _ascii_upper(name: str) -> str:
    """Upper case of names that engines write; beyond ASCII two letters may have one upper case."""
    return name.upper() if name.isascii() else name


def _check_lora_id(lora_id: int | str | None) -> None:
    if isinstance(lora_id, str) and len(lora_id.encode()) > _MAX_LORA_ID_BYTES:
        raise _Unusable("malformed")


def _names(hashes: list[_Hash]) -> tuple[int, ...]:
    """Block names as u64; engines write the same 64 bits signed or unsigned."""
    names: list[int] = []
    for value in hashes:
        if isinstance(value, bytes):
            raise _Unusable("hash-form")
        names.append(value & _MASK64)
    return tuple(names)


def _flat_tokens(token_ids: list[int], blocks: int, block_tokens: int) -> bytes:
    if not 0 < block_tokens <= _MAX_BLOCK_TOKENS or len(token_ids) != blocks * block_tokens:
        raise _Unusable("malformed")
    try:
        return flat_tokens(token_ids)
    except TokenRangeError:
        raise _Unusable("malformed") from None
