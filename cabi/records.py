"""What a router tells, as immutable records; fields mean what ``epp.h`` says of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from typing import NamedTuple


class Policy(IntEnum):
    """``epp_policy``."""

    TTFT = 0
    KV = 1
    ROUND_ROBIN = 2
    RANDOM = 3
    LEAST_LOADED = 4
    POWER_OF_TWO = 5


class Role(IntEnum):
    """``epp_role``."""

    AGGREGATED = 0
    PREFILL = 1
    DECODE = 2
    ENCODE = 3


class Ask(IntFlag):
    """``EPP_REQUEST_*``."""

    CANDIDATES = 1
    PIN = 2
    PREFILL_PIN = 4
    KV_REUSE = 8
    TRACK_PREFILL = 16
    DISAGG = 32
    EXPLAIN = 64


class Phase(IntEnum):
    """``epp_phase``."""

    AGGREGATED = 0
    PREFILL = 1
    DECODE = 2


IGNORED = (
    "orphan",
    "duplicate",
    "block-size",
    "kind",
    "locality",
    "hash-form",
    "unknown-type",
    "malformed",
    "unknown-hash",
    "capacity",
    "unknown-worker",
)
"""Names of ``epp_ignored``, by number."""


@dataclass(frozen=True, slots=True)
class Options:
    """``epp_options``: bounds and priors of a router."""

    max_workers: int = 4096
    max_ranks: int = 65536
    max_bookings: int = 1_000_000
    max_blocks: int = 16_000_000
    predicted_ttl_s: float = 120.0
    default_prefill_tokens_per_s: float = 8000.0
    default_block_tokens: int = 16


@dataclass(frozen=True, slots=True)
class Worker:
    """``epp_worker`` and its taints (hashes of their names)."""

    worker_id: int
    role: Role = Role.AGGREGATED
    total_blocks: int = 0
    max_batched_tokens: int = 0
    dp_size: int = 1
    block_tokens: int = 0
    has_events: bool = True
    taints: tuple[int, ...] = ()


class LoadSample(NamedTuple):
    """``epp_load_sample``."""

    waiting_requests: int
    running_requests: int
    kv_usage: float


class PrefillDone(NamedTuple):
    """``epp_prefill_done``."""

    booking: int
    at_s: float
    reserved_at_s: float
    exact: bool


class Report(NamedTuple):
    """``epp_report`` with the facts about bookings."""

    stored_blocks: int
    removed_blocks: int
    cleared: int
    ignored: tuple[tuple[str, int], ...]
    """(reason, count), ordered by reason, without zeros."""
    block_tokens: int
    prefill_done: tuple[PrefillDone, ...]
    decode_blocks: tuple[tuple[int, int], ...]
    """(booking, output blocks seen in this batch)."""


class Terms(NamedTuple):
    """``epp_terms``."""

    worker_id: int
    rank: int
    phase: int
    device_blocks: int
    host_blocks: int
    disk_blocks: int
    request_blocks: int
    cached_tokens: int
    uncached_tokens: float
    active_prefill_tokens: int
    potential_decode_blocks: int
    active_requests: int
    load: LoadSample
    prefill_tokens_per_s: float
    predicted_ttft_s: float
    cost: float


class Selection(NamedTuple):
    """``epp_selection``."""

    worker_id: int
    rank: int
    prefill: tuple[int, int] | None
    """(worker id, rank) of the prefill worker of a split request."""
    block_tokens: int
    prompt_tokens: int
    cached_tokens: int
    best_cached_tokens: int
    uncached_tokens: float
    cost: float
    predicted_ttft_s: float
    terms: Sequence[Terms]
    """Every candidate, if they were asked for."""


class RankLoad(NamedTuple):
    """``epp_rank_load``."""

    worker_id: int
    rank: int
    active_requests: int
    active_prefill_tokens: int
    active_decode_blocks: int
    resident_blocks: int
    prefill_tokens_per_s: float
    scraped: LoadSample


class Stats(NamedTuple):
    """``epp_stats``."""

    workers: int
    ranks: int
    resident_pairs: int
    distinct_blocks: int
    bookings: int
    predicted_blocks: int
    memory_bytes: int
    index_bytes: int


class LoadReport(NamedTuple):
    """``epp_load_report``: what a snapshot brought."""

    stored_pairs: int
    skipped_pairs: int
    skipped_ranks: int
