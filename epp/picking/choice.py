"""The question a policy answers and the answer it gives, the same for every kind of policy."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from msgspec import Struct, field

from epp.core.endpoints import WorkerRank
from epp.core.outcomes import HeaderPairs
from epp.core.router import CandidateTerms, CostParams, NoChoice, Selection
from epp.core.scheduling.explanation import ProfileExplanation
from epp.core.scheduling.guarding import PluginReading
from epp.core.tokens import Tokenized


class Question(Struct, frozen=True):
    """One request, reduced to what a choice may depend on."""

    model: str
    lora: str
    """Adapter name, part of block identity; empty: the base model."""
    salt: str
    """Cache namespace (tenant or ``cache_salt``), part of block identity."""
    tokens: Tokenized
    candidates: tuple[int, ...] | None
    """Worker ids allowed by subset hint, model label and conformance header; None: all."""
    booking: int | None
    """Ledger id to book under; None: ask only."""
    now_s: float
    seed: int
    pin: WorkerRank | None = None
    prefill_pin: WorkerRank | None = None
    required_taints: frozenset[str] = frozenset()
    preferred_taints: tuple[tuple[str, float], ...] = ()
    params: CostParams = CostParams()
    expected_output_tokens: int = 0
    session: str = ""
    """Session id of the client, for affinity; empty: none."""
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    """Request headers, lower case, for plugins."""
    split: bool = True
    """False: the client wants no separate prefill worker."""
    explain: bool = False
    """Collect every candidate's terms even when the policy does not need them."""


class Choice(Struct, frozen=True):
    """Who serves, and the numbers behind it."""

    policy: str
    selection: Selection
    fallbacks: tuple[WorkerRank, ...] = ()
    """Next best workers in order, when the configuration asks for a list."""
    profiles: tuple[ProfileExplanation, ...] = ()
    """What every profile that ran scored (scorer policy only)."""
    response_headers: HeaderPairs = ()
    """For the client, with the response (session tokens)."""

    @property
    def terms(self) -> Sequence[CandidateTerms]:
        """Every candidate's terms; empty when nobody asked for them."""
        return self.selection.candidates

    @property
    def scores(self) -> tuple[dict[str, Any], ...]:
        """Per profile and candidate, the scores of every scorer; rows are made when asked for."""
        return tuple(row for profile in self.profiles for row in profile.rows())

    @property
    def prefiller(self) -> WorkerRank:
        """Who computes the prompt."""
        return self.selection.prefill or self.selection.worker

    @property
    def stores_blocks(self) -> bool:
        """Whether computing the prompt completes a block, which an event stream then reports."""
        return self.selection.uncached_tokens >= max(1, self.selection.block_tokens)


class Chooser(Protocol):
    """A policy: answers questions, keeps whatever state it needs in the router."""

    name: str

    def choose(self, question: Question) -> Choice | NoChoice:
        """Pick for one question; books when ``question.booking`` is set."""
        ...

    def readings(self) -> tuple[PluginReading, ...]:
        """What its foreign plugins did since the start."""
        ...
