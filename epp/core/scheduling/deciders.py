"""Deciders: whether a request is worth a prefill worker of its own."""

from dataclasses import dataclass

from epp.config.kinds import whole
from epp.config.tree import Fields
from epp.core.scheduling.context import Candidate, SchedulingContext

_TOKENS = whole(0, 2**31 - 1)


@dataclass(frozen=True, slots=True)
class PrefixBasedDecider:
    """``prefix-based-pd-decider``: split when the decode worker lacks enough of a long enough prompt."""

    min_uncached_tokens: int = 0
    """0: never split."""
    min_prompt_tokens: int = 0

    @classmethod
    def from_fields(cls, fields: Fields) -> "PrefixBasedDecider":
        """Parameters ``nonCachedTokens`` and ``promptTokens``."""
        return cls(
            fields.scalar("nonCachedTokens", _TOKENS, 0),
            fields.scalar("promptTokens", _TOKENS, 0),
        )

    def wants_split(self, context: SchedulingContext, decode: Candidate) -> bool:
        """Whether enough is uncached."""
        if self.min_uncached_tokens == 0 or context.prompt_tokens < self.min_prompt_tokens:
            return False
        return context.prompt_tokens - decode.terms.cached_tokens >= self.min_uncached_tokens


@dataclass(frozen=True, slots=True)
class AlwaysSplit:
    """``always-disagg-pd-decider``."""

    def wants_split(
        self,
        context: SchedulingContext,  # noqa: ARG002 -- the contract's argument
        decode: Candidate,  # noqa: ARG002 -- the contract's argument
    ) -> bool:
        """Yes."""
        return True
