"""``context-length-aware``: endpoints declare by a label which prompt lengths they are for.

The label's value is ``min-max`` in tokens. Inside the range the score is above 0.3, higher for narrow
ranges and for headroom; outside it is below 0.3, falling with the distance. Without the label, 0.5.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from epp.config.kinds import BOOLEAN, TEXT
from epp.config.tree import Fields
from epp.core.scheduling.context import Candidate, SchedulingContext
from epp.core.scheduling.plugin import NEUTRAL

_LABEL = "llm-d.ai/context-length-range"
_EDGE = 0.3
"""Between the worst inside and the best outside."""
_WIDTH_TOKENS = 10_000.0
_DISTANCE_TOKENS = 1_000.0


@dataclass(frozen=True, slots=True)
class ContextLengthAware:
    """Scores by the declared range; with ``filters`` also drops who is outside it."""

    label: str = _LABEL
    filters: bool = False

    @classmethod
    def from_fields(cls, fields: Fields) -> "ContextLengthAware":
        """Parameters ``label`` and ``enableFiltering``."""
        return cls(fields.scalar("label", TEXT, _LABEL), fields.scalar("enableFiltering", BOOLEAN, False))

    def keep(self, context: SchedulingContext, candidates: Sequence[Candidate]) -> Sequence[Candidate]:
        """Those whose range holds the prompt, and those that declare none; everyone unless ``filters``."""
        return [one for one in candidates if self._fits(one, context)] if self.filters else candidates

    def score(self, context: SchedulingContext, candidates: Sequence[Candidate]) -> Sequence[float]:
        """How well the range suits the prompt."""
        return [self._score(one, context.prompt_tokens) for one in candidates]

    def _fits(self, candidate: Candidate, context: SchedulingContext) -> bool:
        text = candidate.endpoint.labels.get(self.label)
        if text is None:
            return True
        low, high = _read_range(text) or (1, 0)
        return low <= context.prompt_tokens <= high

    def _score(self, candidate: Candidate, tokens: int) -> float:
        text = candidate.endpoint.labels.get(self.label)
        if text is None:
            return NEUTRAL
        bounds = _read_range(text)
        return 0.0 if bounds is None else _suitability(tokens, *bounds)


def _read_range(text: str) -> tuple[int, int] | None:
    low, _, high = (part.strip() for part in text.partition("-"))
    if not (low.isascii() and low.isdigit() and high.isascii() and high.isdigit()):
        return None
    if max(len(low), len(high)) > 18 or int(low) > int(high):
        return None
    return int(low), int(high)


def _suitability(tokens: int, low: int, high: int) -> float:
    if tokens < low or tokens > high:
        return _EDGE / (1.0 + max(low - tokens, tokens - high) / _DISTANCE_TOKENS)
    width = high - low
    if width == 0:
        return 1.0
    raw = 0.7 / (1.0 + width / _WIDTH_TOKENS) + 0.3 * (high - tokens) / width
    return _EDGE + raw * (1.0 - _EDGE)
