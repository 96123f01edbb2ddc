"""The decision seam: one object that knows workers, resident blocks and bookings, and picks.

A :class:`Router` is everything that must be consistent for one pick: which blocks each (worker, rank)
holds, what has been sent there and not finished, and the rule that turns both into a choice. It has two
implementations, the readable one (``epp.core.kvindex.reference``: the oracle and the fallback) and the
native one (``epp.core.kvindex.native`` over ``cabi``); one conformance suite runs over both.

Shape of the seam, chosen so that a request crosses it once:

* prompts are flat buffers of little-endian u32 token ids, never lists;
* time is an argument (``now_s``, monotonic seconds);
* a booking is named by a caller-chosen u64; randomness comes from a caller-chosen seed;
* expected outcomes ("nobody eligible") are values; exceptions are for wrong arguments.

Thread-safety: the native router may be called from any thread; the reference one may not.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import Protocol

from msgspec import Struct

from epp.core.endpoints import Role, WorkerRank


class Tier(IntEnum):
    """Where a block lives on a worker, nearest first."""

    DEVICE = 0
    HOST = 1
    DISK = 2
    EXTERNAL = 3


class Policy(StrEnum):
    """The policies a router evaluates itself."""

    TTFT = "ttft"
    """Least predicted time to first token."""
    KV = "kv"
    """Dynamo's cost function: weighted uncached prefill blocks plus decode blocks."""
    ROUND_ROBIN = "round-robin"
    RANDOM = "random"
    LEAST_LOADED = "least-loaded"
    """Fewest active prefill tokens in blocks plus decode blocks, cache ignored."""
    POWER_OF_TWO = "power-of-two"
    """The less loaded of two random candidates."""


# --- workers -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class WorkerSpec:
    """What the router must know of a worker; upserting an equal spec changes nothing."""

    worker_id: int
    dp_size: int = 1
    role: Role = Role.AGGREGATED
    block_tokens: int = 0
    """Tokens per KV block; 0: not known yet. Learnt from the first stored event or the metrics page."""
    total_blocks: int = 0
    """KV capacity per rank in blocks; 0: unknown."""
    max_batched_tokens: int = 0
    """Engine's prefill budget per step in tokens; 0: unknown."""
    has_events: bool = True
    """False: no event stream; what is sent there is remembered as predicted blocks with a TTL."""
    taints: frozenset[str] = frozenset()
    """Labels a request may require or prefer."""


@dataclass(frozen=True, slots=True)
class LoadSample:
    """Load scraped from a worker's metrics page."""

    waiting_requests: int = 0
    running_requests: int = 0
    kv_usage: float = 0.0
    """Fraction of KV blocks in use, 0..1."""


# --- KV events -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class BlocksStored:
    """A chain of full blocks became resident."""

    engine_hashes: tuple[int, ...]
    """The engine's own u64 names, in chain order; only names, never recomputed."""
    parent_engine_hash: int | None
    """Name of the block before the first one; None: the chain starts at the root."""
    tokens: bytes
    """``len(engine_hashes) * block_tokens`` little-endian u32 ids."""
    block_tokens: int
    tier: Tier = Tier.DEVICE
    lora: str = ""
    salt: str = ""
    mm_hashes: tuple[tuple[int, ...], ...] = ()
    """Per block, hashes of the multimodal items in it; empty: none anywhere."""


@dataclass(frozen=True, slots=True)
class BlocksRemoved:
    """Blocks left a tier."""

    engine_hashes: tuple[int, ...]
    tier: Tier = Tier.DEVICE


@dataclass(frozen=True, slots=True)
class BlocksCleared:
    """The whole cache of the rank is empty."""


KvEvent = BlocksStored | BlocksRemoved | BlocksCleared


@dataclass(frozen=True, slots=True)
class PrefillDone:
    """A booking's prompt is computed: its last full block was stored, or nothing was uncached."""

    booking: int
    at_s: float
    reserved_at_s: float
    exact: bool
    """True: seen in the worker's own event stream. False: estimated."""


@dataclass(frozen=True, slots=True)
class ApplyReport:
    """What one batch of events did."""

    stored_blocks: int = 0
    removed_blocks: int = 0
    """Not those of which another copy is left."""
    cleared: int = 0
    ignored: tuple[tuple[str, int], ...] = ()
    """(reason, count), ordered by reason: ``orphan``, ``duplicate``, ``block-size``, ``kind``,
    ``locality``, ``hash-form``, ``unknown-type``, ``malformed``, ``unknown-hash``, ``capacity``,
    ``unknown-worker``."""
    block_tokens: int = 0
    """The worker's block size as now known; 0: still unknown."""
    prefill_done: tuple[PrefillDone, ...] = ()
    """Bookings whose prefill this batch completed."""
    decode_blocks: tuple[tuple[int, int], ...] = ()
    """(booking, output blocks seen now): progress of running decodes."""


# --- one decision --------------------------------------------------------------------------------------


class CostParams(Struct, frozen=True):
    """Weights of the ``kv`` cost; defaults are Dynamo's. Every field may be overridden per request."""

    overlap_credit: float = 1.0
    """Blocks credited per device-resident block; 0 ignores the cache."""
    credit_decay: float = 0.0
    """How fast the credit fades on workers with more queued prefill than the least loaded one."""
    prefill_load_scale: float = 1.0
    """Weight of uncached prefill against decode."""
    host_weight: float = 0.75
    disk_weight: float = 0.25
    active_request_weight: float = 0.0
    temperature: float = 0.0
    """0: least cost, ties at random. T > 0: p ~ exp(-(cost - min) / ((max - min) * T))."""
    assume_kv_reuse: bool = True
    """False: this booking's blocks are not shared with equal prompts in the decode load."""
    track_prefill_tokens: bool = True
    """False: this booking adds no prefill load."""


@dataclass(frozen=True, slots=True)
class DisaggRule:
    """When to split a request over a prefill and a decode worker (only if both roles are at hand)."""

    enabled: bool = True
    min_uncached_tokens: int = 0
    """Split only if the decode worker lacks at least this many prompt tokens."""
    min_prompt_tokens: int = 0


@dataclass(frozen=True, slots=True)
class BusyLimits:
    """A worker is busy when every rank exceeds any set limit; all workers busy: overloaded."""

    active_decode_fraction: float | None = None
    """Active decode blocks / total blocks."""
    active_prefill_tokens: int | None = None
    active_prefill_fraction: float | None = None
    """Active prefill tokens / max batched tokens."""


class SelectRequest(Struct, frozen=True):
    """One question to the router; with ``booking`` set, the choice is also booked, atomically."""

    tokens: bytes | memoryview
    """The prompt as flat little-endian u32; may be empty."""
    now_s: float
    seed: int
    """u64; the only source of randomness (see ``epp.core.rng``)."""
    policy: Policy = Policy.KV
    booking: int | None = None
    """u64 > 0 to book under; None: ask only."""
    lease_s: float = 300.0
    """The booking expires this long after it was made or last renewed."""
    candidates: Sequence[int] | None = None
    """Worker ids allowed; None: all. Unknown ids are ignored."""
    lora: str = ""
    salt: str = ""
    expected_output_tokens: int = 0
    """0: unknown."""
    pin: WorkerRank | None = None
    """Hard pin of the decode/aggregated worker; rank -1: any rank."""
    prefill_pin: WorkerRank | None = None
    required_taints: frozenset[str] = frozenset()
    preferred_taints: tuple[tuple[str, float], ...] = ()
    params: CostParams = CostParams()
    disagg: DisaggRule = DisaggRule()
    busy: BusyLimits = BusyLimits()
    explain: bool = False
    """Fill ``Selection.candidates`` (one row per candidate and phase)."""


class Phase(StrEnum):
    """Which choice a candidate row belongs to."""

    AGGREGATED = "aggregated"
    PREFILL = "prefill"
    DECODE = "decode"


class CandidateTerms(Struct, frozen=True):
    """Everything the choice knew of one (worker, rank): the explanation, number by number."""

    worker: WorkerRank
    phase: Phase
    device_blocks: int
    """Longest resident run from the root on the device tier."""
    host_blocks: int
    """Further blocks of the run only the host tier holds."""
    disk_blocks: int
    """Further blocks of the run only disk or external tiers hold."""
    request_blocks: int
    """Blocks of the prompt, the partial tail included."""
    cached_tokens: int
    """Prompt tokens resident in any tier that the engine will reuse: the run, without the prompt's last
    token, which is always computed."""
    uncached_tokens: float
    """Tokens to compute, tiers weighted by their load cost (effective prefill tokens)."""
    active_prefill_tokens: int
    """Prefill already booked there."""
    potential_decode_blocks: int
    """Decode blocks if this request joined, shared blocks counted once."""
    active_requests: int
    load: LoadSample
    prefill_tokens_per_s: float
    """Learnt rate; 0: not learnt, the prior was used."""
    predicted_ttft_s: float
    """0 unless the policy is ``ttft`` or ``explain`` is set."""
    cost: float
    """What was compared; lower is better. Its unit depends on the policy."""


class Selection(Struct, frozen=True):
    """A choice."""

    worker: WorkerRank
    """The decode or aggregated worker: where the request goes."""
    prefill: WorkerRank | None
    """The prefill worker of a split request."""
    prompt_tokens: int
    cached_tokens: int
    """Resident prompt tokens that the worker that prefills will reuse."""
    best_cached_tokens: int
    """The most any candidate had."""
    block_tokens: int
    """Block size of the worker that prefills."""
    uncached_tokens: float
    cost: float
    predicted_ttft_s: float
    candidates: Sequence[CandidateTerms] = ()
    """Every candidate's terms, if ``explain`` was set; may be made only when read."""


class NoChoice(StrEnum):
    """Why nobody was chosen."""

    NO_WORKERS = "no-workers"
    """The router knows no worker that may serve at all."""
    NO_CANDIDATES = "no-candidates"
    """Workers exist but candidates, pins or taints leave none."""
    UNKNOWN_PIN = "unknown-pin"
    """A pin names a worker that is not known."""
    RANK_OUT_OF_RANGE = "rank-out-of-range"
    """A pin's rank is not below the worker's ``dp_size``."""
    OVERLOADED = "overloaded"
    """Every eligible worker is busy by the given limits."""


# --- loads and statistics ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RankLoad:
    """Load of one rank as booked here (not as scraped)."""

    worker: WorkerRank
    active_requests: int
    active_prefill_tokens: int
    active_decode_blocks: int
    resident_blocks: int
    prefill_tokens_per_s: float
    """Learnt rate; 0: not learnt yet."""
    scraped: LoadSample = field(default_factory=LoadSample)


@dataclass(frozen=True, slots=True)
class RouterStats:
    """Sizes of everything bounded."""

    workers: int
    ranks: int
    resident_pairs: int
    """(worker, rank, block) triples in the index, tiers together."""
    distinct_blocks: int
    bookings: int
    predicted_blocks: int
    memory_bytes: int
    """What the router holds; 0: not measured by this implementation."""


@dataclass(frozen=True, slots=True)
class RouterOptions:
    """Bounds and priors of a router; fixed for its life."""

    max_workers: int = 4096
    max_blocks: int = 16_000_000
    """Resident (worker, rank, block) triples; a stored block beyond it is ignored as ``capacity``."""
    max_bookings: int = 1_000_000
    predicted_ttl_s: float = 120.0
    """How long a block sent to a worker without events is believed to stay there."""
    default_block_tokens: int = 16
    """Block size assumed, for load arithmetic and predicted blocks, while a worker's is unknown."""
    default_prefill_tokens_per_s: float = 8000.0
    """Prior of the prefill rate until any rank's was learnt."""


@dataclass(frozen=True, slots=True)
class DecodedPayload:
    """One engine message, read; what a decoder injected into a router returns. It never raises."""

    events: tuple[KvEvent, ...]
    rank: int | None
    """Data-parallel rank named by the message; None: not named. The caller's target decides."""
    ts: float
    """The engine's wall-clock seconds; 0: not given."""
    ignored: tuple[tuple[str, int], ...] = ()
    """(reason, count) of what the decoder dropped, with the reasons of :class:`ApplyReport`."""


class UnknownBookingError(KeyError):
    """No booking has this id (it was freed, it expired, or never was)."""


class DuplicateBookingError(ValueError):
    """The id is already booked."""


class CapacityError(RuntimeError):
    """A bound of the router (workers, blocks, bookings) is reached."""


class Router(Protocol):
    """See the module's preface. Methods raise ValueError for arguments outside their stated range."""

    def upsert_worker(self, spec: WorkerSpec) -> None:
        """Add a worker or change it. Shrinking ``dp_size`` forgets the ranks beyond it. A spec with a new
        ``block_tokens`` (neither 0 nor the known one) forgets the blocks of that worker."""
        ...

    def remove_worker(self, worker_id: int) -> tuple[int, ...]:
        """Forget a worker, its blocks and bookings; returns the bookings dropped. Unknown id: ``()``."""
        ...

    def update_load(self, target: WorkerRank, load: LoadSample) -> None:
        """Record scraped load; ignored for unknown workers or ranks."""
        ...

    def apply(self, target: WorkerRank, events: Sequence[KvEvent], now_s: float) -> ApplyReport:
        """Apply one batch in order. Unknown worker or rank: everything ignored as ``unknown-worker``."""
        ...

    def apply_payload(self, target: WorkerRank, payload: bytes, now_s: float) -> ApplyReport:
        """Apply one engine message: msgpack ``[ts, [event, ...], rank]``, map or positional events."""
        ...

    def drop_blocks(self, target: WorkerRank) -> int:
        """Forget every block of one rank (its view can no longer be trusted); returns how many."""
        ...

    def select(self, request: SelectRequest) -> Selection | NoChoice:
        """Choose, and book if asked. Raises DuplicateBookingError, CapacityError."""
        ...

    def measure(self, request: SelectRequest) -> tuple[CandidateTerms, ...]:
        """The terms of every eligible candidate, nothing chosen, nothing booked: what scorers read."""
        ...

    def prefill_complete(self, booking: int, now_s: float) -> PrefillDone | None:
        """The prompt is computed: its tokens leave the prefill load. None if that was known already.
        Raises UnknownBookingError."""
        ...

    def output_block(self, booking: int, decay: float | None = None) -> None:
        """One more block of output exists. ``decay`` in 0..1 scales the blocks only this booking holds.
        Raises UnknownBookingError."""
        ...

    def renew(self, booking: int, now_s: float) -> None:
        """Start the lease anew. Raises UnknownBookingError."""
        ...

    def free(self, booking: int) -> None:
        """End a booking. Raises UnknownBookingError."""
        ...

    def expire(self, now_s: float) -> tuple[int, ...]:
        """Drop bookings whose lease ended and predicted blocks whose TTL ended; returns those bookings.
        Also marks the prefill of bookings on workers without events complete when their estimate ends."""
        ...

    def loads(self) -> tuple[RankLoad, ...]:
        """Booked load of every rank, ordered by (worker_id, rank)."""
        ...

    def stats(self) -> RouterStats:
        """Sizes, for gauges."""
        ...

    def validate(self) -> str | None:
        """None when every invariant holds, else the first broken one in words. O(everything): for tests."""
        ...
