"""What one decision sees: the request, and every candidate with its numbers.

A context is made once per request from the router's terms (``Router.measure``) and the pool's endpoints,
and never changes. Staleness is explicit: a candidate whose load was not read lately says so, instead of
looking idle.
"""

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field

from epp.core.endpoints import Endpoint, PoolSnapshot, WorkerRank
from epp.core.router import CandidateTerms, LoadSample, Phase


@dataclass(frozen=True, slots=True)
class LoraState:
    """LoRA adapters of one worker, as its metrics page reports them."""

    active: frozenset[str] = frozenset()
    """Loaded and serving."""
    waiting: frozenset[str] = frozenset()
    """Asked for, not loaded yet."""
    max_active: int = 0
    """How many may be loaded at once; 0: unknown."""


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """One (worker, rank) that may serve, compared by identity."""

    endpoint: Endpoint
    rank: int
    terms: CandidateTerms
    """What the router knows: resident blocks, bookings, scraped load."""
    load_known: bool = True
    """False: never scraped, or not lately; ``terms.load`` then means nothing."""
    lora: LoraState | None = None
    """None: the worker reports no adapters."""

    @property
    def worker(self) -> WorkerRank:
        """Its name."""
        return self.terms.worker

    @property
    def load(self) -> LoadSample | None:
        """Scraped load; None: unknown or stale."""
        return self.terms.load if self.load_known else None

    @property
    def cached_fraction(self) -> float:
        """Resident part of the prompt in any tier, 0..1; 0 for an empty prompt."""
        terms = self.terms
        resident = terms.device_blocks + terms.host_blocks + terms.disk_blocks
        return min(1.0, resident / terms.request_blocks) if terms.request_blocks > 0 else 0.0


def _no_headers() -> Mapping[str, str]:
    return {}


@dataclass(frozen=True, slots=True)
class SchedulingContext:
    """One request, as plugins see it."""

    candidates: tuple[Candidate, ...]
    """Everyone the router would allow, every phase."""
    now_s: float
    """Monotonic seconds."""
    model: str = ""
    """As the client named it."""
    lora: str = ""
    """Adapter asked for; empty: the base model."""
    session: str = ""
    """The client's session as the door understood it; empty: none."""
    prompt_tokens: int = 0
    headers: Mapping[str, str] = field(default_factory=_no_headers)
    """Request headers, names in lower case."""


def candidates_of(
    terms: Iterable[CandidateTerms],
    pool: PoolSnapshot,
    *,
    unknown_load: Container[WorkerRank] = (),
    lora: Mapping[int, LoraState] | None = None,
) -> tuple[Candidate, ...]:
    """Candidates from the router's terms; workers that have just left the pool are left out.

    ``unknown_load`` holds the ranks whose load is not known or too old; ``lora`` maps worker ids.
    """
    adapters = lora or {}
    return tuple(
        Candidate(
            endpoint=pool.by_worker[row.worker.worker_id],
            rank=row.worker.rank,
            terms=row,
            load_known=row.worker not in unknown_load,
            lora=adapters.get(row.worker.worker_id),
        )
        for row in terms
        if row.worker.worker_id in pool.by_worker
    )


def of_phase(candidates: Iterable[Candidate], phase: Phase) -> tuple[Candidate, ...]:
    """One row per worker for a phase: rows measured for it, else those of workers that do everything."""
    chosen: dict[WorkerRank, Candidate] = {}
    for candidate in candidates:
        measured = candidate.terms.phase
        if measured is phase or (measured is Phase.AGGREGATED and candidate.worker not in chosen):
            chosen[candidate.worker] = candidate
    return tuple(chosen.values())
