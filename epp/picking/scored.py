"""The ``scorers`` policy: profiles of filters, scorers and a picker over the router's measurements.

Two calls to the router instead of one: measure everybody, score in Python, then book the winner by pinning
it. Nothing awaits in between, so the measured world is the booked one.
"""

from msgspec.structs import replace

from epp.core.endpoints import WorkerRank
from epp.core.rng import SplitMix64
from epp.core.router import CandidateTerms, NoChoice, Selection
from epp.core.scheduling.context import LoraState, SchedulingContext, candidates_of
from epp.core.scheduling.guarding import PluginReading
from epp.core.scheduling.pipeline import PolicyChoice, Ranked, ScorerPolicy
from epp.picking.choice import Choice, Question
from epp.picking.fleet import Fleet
from epp.picking.native import NO_SPLIT, NativeChooser


class ScorerChooser:
    """Answers questions with a :class:`ScorerPolicy`; ``router_side`` measures and books."""

    name = "scorers"

    def __init__(self, policy: ScorerPolicy, router_side: NativeChooser, fleet: Fleet) -> None:
        self._policy = policy
        self._router_side = router_side
        self._fleet = fleet

    def choose(self, question: Question) -> Choice | NoChoice:
        """See :class:`epp.picking.choice.Chooser`."""
        request = self._router_side.request_of(question)
        terms = self._fleet.router.measure(replace(request, booking=None))
        if not terms:
            # Nobody is eligible, or everybody is busy: the router itself knows the word for it.
            answer = self._fleet.router.select(replace(request, booking=None))
            return answer if isinstance(answer, NoChoice) else NoChoice.NO_CANDIDATES
        chosen = self._policy.choose(
            self._context(question, terms), SplitMix64(question.seed), remember=question.booking is not None
        )
        if not chosen.primary:
            return NoChoice.NO_CANDIDATES
        prefill = chosen.prefill[0].worker if chosen.prefill else None
        booked = self._fleet.router.select(
            replace(request, pin=chosen.primary[0].worker, prefill_pin=prefill, disagg=NO_SPLIT)
        )
        if isinstance(booked, NoChoice):
            return booked
        return self._choice(chosen, terms, booked)

    def readings(self) -> tuple[PluginReading, ...]:
        """What the foreign plugins did since the start."""
        return self._policy.readings()

    def _context(self, question: Question, terms: tuple[CandidateTerms, ...]) -> SchedulingContext:
        fleet = self._fleet
        stale = {row.worker for row in terms if fleet.fresh_load(row.worker, question.now_s) is None}
        adapters = {
            worker_id: LoraState(state.lora.running, state.lora.waiting, state.lora.max_loras)
            for worker_id, state in fleet.states.items()
            if state.lora.max_loras or state.lora.running or state.lora.waiting
        }
        return SchedulingContext(
            candidates=candidates_of(terms, fleet.snapshot, unknown_load=stale, lora=adapters),
            now_s=question.now_s,
            model=question.model,
            lora=question.lora,
            session=question.session,
            prompt_tokens=question.tokens.prompt_tokens,
            headers=question.headers,
        )

    def _choice(self, chosen: PolicyChoice, terms: tuple[CandidateTerms, ...], booked: Selection) -> Choice:
        best = max((row.cached_tokens for row in terms), default=0)
        selection = replace(booked, candidates=terms, best_cached_tokens=best)
        return Choice(
            self.name,
            selection,
            fallbacks=_others(chosen.primary),
            profiles=chosen.explanation,
            response_headers=chosen.response_headers,
        )


def _others(ranked: tuple[Ranked, ...]) -> tuple[WorkerRank, ...]:
    return tuple(one.worker for one in ranked[1:])
