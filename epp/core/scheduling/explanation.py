"""Why a choice fell as it did, number by number: what /debug/picks and ``epp explain`` show.

A run of a profile keeps its columns of numbers; the rows people read are made when somebody asks.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from epp.core.endpoints import WorkerRank
from epp.core.router import Phase
from epp.core.scheduling.context import Candidate


@dataclass(frozen=True, slots=True)
class Part:
    """One scorer's share in a candidate's sum."""

    scorer: str
    weight: float
    score: float
    """0..1, before the weight."""


@dataclass(frozen=True, slots=True)
class CandidateScore:
    """One candidate in one profile."""

    worker: WorkerRank
    total: float
    """Sum of weight x score."""
    parts: tuple[Part, ...]
    load_known: bool
    dropped_by: str | None = None
    """The filter that left it out; None: it was scored."""


@dataclass(frozen=True, slots=True)
class Column:
    """What one scorer said of everybody."""

    scorer: str
    weight: float
    scores: Sequence[float]


@dataclass(frozen=True, slots=True)
class ProfileExplanation:
    """One run of one profile."""

    profile: str
    phase: Phase
    picker: str
    kept: Sequence[Candidate]
    """Those who were scored, in the order of the columns."""
    columns: tuple[Column, ...]
    totals: Sequence[float]
    dropped: tuple[tuple[Candidate, str], ...]
    """Those left out, each with the filter that did it."""

    @property
    def scores(self) -> tuple[CandidateScore, ...]:
        """One row per candidate: best first, then those left out."""
        scored = [self._row(i) for i in range(len(self.kept))]
        scored.sort(key=lambda row: row.total, reverse=True)
        left = [CandidateScore(one.worker, 0.0, (), one.load_known, name) for one, name in self.dropped]
        return (*scored, *left)

    def rows(self) -> tuple[dict[str, Any], ...]:
        """JSON-ready, one mapping per candidate, in the order of :attr:`scores`."""
        return tuple(
            {
                "profile": self.profile,
                "phase": self.phase.value,
                "picker": self.picker,
                "worker_id": one.worker.worker_id,
                "rank": one.worker.rank,
                "total": one.total,
                "scores": {part.scorer: {"weight": part.weight, "score": part.score} for part in one.parts},
                "load_known": one.load_known,
                "dropped_by": one.dropped_by,
            }
            for one in self.scores
        )

    def _row(self, i: int) -> CandidateScore:
        parts = tuple(Part(column.scorer, column.weight, column.scores[i]) for column in self.columns)
        return CandidateScore(self.kept[i].worker, self.totals[i], parts, self.kept[i].load_known)
