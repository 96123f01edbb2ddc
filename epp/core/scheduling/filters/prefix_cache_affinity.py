"""``prefix-cache-affinity-filter``: stay where the prompt already is, unless that costs too much waiting.

An endpoint is *sticky* when it holds at least ``affinityThreshold`` of the prompt. If any is, the others
are left out, except when the shortest wait for prefill among the sticky ones exceeds that among the others
by more than ``maxTTFTPenaltyMs``. The wait is booked prefill divided by the worker's learnt rate, or by
``peakPrefillThroughput`` where no rate was learnt.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from epp.config.kinds import TEXT, choice, real
from epp.config.tree import Fields
from epp.core.scheduling.context import Candidate, SchedulingContext

_DEFAULT_PENALTY_MS = 18_000.0
_DEFAULT_TOKENS_PER_S = 15_928.0
"""The defaults of the plugin's documentation in llm-d."""


@dataclass(frozen=True, slots=True)
class PrefixCacheAffinityFilter:
    """Keeps the sticky endpoints."""

    threshold: float = 0.8
    max_penalty_ms: float = _DEFAULT_PENALTY_MS
    """0: stay whatever the wait."""
    tokens_per_s: float = _DEFAULT_TOKENS_PER_S

    @classmethod
    def from_fields(cls, fields: Fields) -> "PrefixCacheAffinityFilter":
        """Parameters ``affinityThreshold``, ``maxTTFTPenaltyMs`` and ``peakPrefillThroughput``."""
        fields.scalar("explorationProbability", real(0.0, 0.0))
        fields.scalar("ttftSource", choice("prefillThroughput"))
        fields.scalar("prefixMatchInfoProducerName", TEXT)
        fields.scalar("inFlightLoadProducerName", TEXT)
        return cls(
            fields.scalar("affinityThreshold", real(0.0, 1.0), 0.8),
            fields.scalar("maxTTFTPenaltyMs", real(0.0), _DEFAULT_PENALTY_MS),
            fields.scalar("peakPrefillThroughput", real(1.0), _DEFAULT_TOKENS_PER_S),
        )

    def keep(
        self,
        context: SchedulingContext,  # noqa: ARG002 -- the contract's argument
        candidates: Sequence[Candidate],
    ) -> Sequence[Candidate]:
        """The sticky ones; everyone when there are none, or when staying costs too much."""
        sticky = [one for one in candidates if one.cached_fraction >= self.threshold]
        others = [one for one in candidates if one.cached_fraction < self.threshold]
        if not sticky or not others:
            return candidates
        penalty_ms = self._least_wait_ms(sticky) - self._least_wait_ms(others)
        return candidates if 0 < self.max_penalty_ms < penalty_ms else sticky

    def _least_wait_ms(self, candidates: Sequence[Candidate]) -> float:
        return min(
            one.terms.active_prefill_tokens / (one.terms.prefill_tokens_per_s or self.tokens_per_s) * 1e3
            for one in candidates
        )
