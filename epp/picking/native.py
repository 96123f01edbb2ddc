"""Policies the router evaluates itself: one call asks, chooses and books."""

from collections.abc import Mapping

from epp.core.endpoints import WorkerRank
from epp.core.router import BusyLimits, DisaggRule, NoChoice, Policy, Router, Selection, SelectRequest
from epp.core.scheduling.guarding import PluginReading
from epp.picking.choice import Choice, Question

NO_SPLIT = DisaggRule(enabled=False)
"""One worker does everything."""


class NativeChooser:
    """Hands a question to the router under one of its own policies."""

    def __init__(
        self,
        router: Router,
        policy: Policy,
        *,
        lease_s: float,
        disagg: DisaggRule,
        busy: BusyLimits,
        fallback_endpoints: int,
        busy_of: Mapping[str, BusyLimits] | None = None,
    ) -> None:
        """``busy_of``: limits of single models (by the name asked for) in place of ``busy``; read at every
        choice, so its owner may change them at any time."""
        self.name = policy.value
        self._router = router
        self._policy = policy
        self._lease_s = lease_s
        self._disagg = disagg
        self._busy = busy
        self._busy_of: Mapping[str, BusyLimits] = {} if busy_of is None else busy_of
        self._fallback_endpoints = fallback_endpoints

    def choose(self, question: Question) -> Choice | NoChoice:
        """See :class:`epp.picking.choice.Chooser`."""
        answer = self._router.select(self.request_of(question))
        if isinstance(answer, NoChoice):
            return answer
        return Choice(self.name, answer, fallbacks=self._fallbacks(answer))

    def readings(self) -> tuple[PluginReading, ...]:
        """Nothing foreign runs here."""
        return ()

    def request_of(self, question: Question) -> SelectRequest:
        """The router's form of a question."""
        return SelectRequest(
            tokens=question.tokens.tokens,
            now_s=question.now_s,
            seed=question.seed,
            policy=self._policy,
            booking=question.booking,
            lease_s=self._lease_s,
            candidates=question.candidates,
            lora=question.lora,
            salt=question.salt,
            expected_output_tokens=question.expected_output_tokens,
            pin=question.pin,
            prefill_pin=question.prefill_pin,
            required_taints=question.required_taints,
            preferred_taints=question.preferred_taints,
            params=question.params,
            disagg=self._disagg if question.split else NO_SPLIT,
            busy=self._busy_of.get(question.model, self._busy),
            explain=question.explain or self._fallback_endpoints > 0,
        )

    def _fallbacks(self, selection: Selection) -> tuple[WorkerRank, ...]:
        if not self._fallback_endpoints:
            return ()
        return next_best(selection, self._fallback_endpoints)


def next_best(selection: Selection, count: int) -> tuple[WorkerRank, ...]:
    """Up to ``count`` further workers by rising cost, each worker once, the chosen one left out."""
    phase = "aggregated" if selection.prefill is None else "decode"
    rows = sorted((c for c in selection.candidates if c.phase == phase), key=lambda c: c.cost)
    best: dict[int, WorkerRank] = {}
    for row in rows:
        if row.worker.worker_id != selection.worker.worker_id:
            best.setdefault(row.worker.worker_id, row.worker)
    return tuple(best.values())[:count]
