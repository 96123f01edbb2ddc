"""``prefix-cache-scorer``: how much of the prompt is resident.

What is resident comes from the picker's own index, exact where the engines publish events, so producers
named in the parameters of other pickers have no counterpart here.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from epp.config.kinds import TEXT, real, whole
from epp.config.tree import Fields
from epp.core.scheduling.context import Candidate, SchedulingContext

_OF_OWN_INDEX = (
    "autoTune",
    "blockSize",
    "blockSizeTokens",
    "hashBlockSize",
    "lruCapacityPerServer",
    "maxPrefixBlocksToMatch",
    "maxPrefixTokensToMatch",
)
_OF_OWN_PRODUCER = (
    "indexerConfig",
    "kvEventsConfig",
    "speculativeIndexing",
    "speculativeTTL",
    "tokenProcessorConfig",
)


@dataclass(frozen=True, slots=True)
class PrefixCacheScorer:
    """(1 - w) x resident fraction + w x min(1, resident tokens / scale)^2."""

    length_weight: float = 0.0
    """w, of the absolute length: attention's cost grows with the square of it."""
    length_scale_tokens: int = 8192

    @classmethod
    def from_fields(cls, fields: Fields) -> "PrefixCacheScorer":
        """Parameters ``matchLengthWeight`` and ``matchLengthScaleTokens``; those of an approximate index of
        the scorer's own, which older releases had, are accepted and change nothing."""
        fields.scalar("prefixMatchInfoProducerName", TEXT)
        fields.ignore(*_OF_OWN_INDEX)
        return cls(
            fields.scalar("matchLengthWeight", real(0.0, 1.0), 0.0),
            fields.scalar("matchLengthScaleTokens", whole(1, 2**31 - 1), 8192),
        )

    @classmethod
    def from_precise_fields(cls, fields: Fields) -> "PrefixCacheScorer":
        """``precise-prefix-cache-scorer``, the same; its parameters configured a producer of its own."""
        fields.ignore(*_OF_OWN_PRODUCER)
        return cls.from_fields(fields)

    def score(
        self,
        context: SchedulingContext,  # noqa: ARG002 -- the contract's argument
        candidates: Sequence[Candidate],
    ) -> Sequence[float]:
        """The resident part of the prompt."""
        return [self._score(one) for one in candidates]

    def _score(self, candidate: Candidate) -> float:
        length = min(1.0, candidate.terms.cached_tokens / self.length_scale_tokens) ** 2
        return (1.0 - self.length_weight) * candidate.cached_fraction + self.length_weight * length
