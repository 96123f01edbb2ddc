"""``token-load-scorer``: prompt tokens sent there and not computed yet."""

from collections.abc import Sequence
from dataclasses import dataclass

from epp.config.kinds import TEXT, whole
from epp.config.tree import Fields
from epp.core.scheduling.context import Candidate, SchedulingContext

_DEFAULT_TOKENS = 4_194_304
"""128 requests of 32 Ki tokens."""


@dataclass(frozen=True, slots=True)
class TokenLoadScorer:
    """1 - min(1, booked prefill tokens / threshold)."""

    threshold_tokens: int = _DEFAULT_TOKENS

    @classmethod
    def from_fields(cls, fields: Fields) -> "TokenLoadScorer":
        """Parameter ``queueThresholdTokens``."""
        fields.scalar("inFlightLoadProducerName", TEXT)
        return cls(fields.scalar("queueThresholdTokens", whole(1, 2**53), _DEFAULT_TOKENS))

    def score(
        self,
        context: SchedulingContext,  # noqa: ARG002 -- the contract's argument
        candidates: Sequence[Candidate],
    ) -> Sequence[float]:
        """How far the booked prefill is from the threshold."""
        return [1.0 - min(1.0, one.terms.active_prefill_tokens / self.threshold_tokens) for one in candidates]
