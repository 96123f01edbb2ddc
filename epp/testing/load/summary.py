"""A run in a few numbers."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, nan

from epp.testing.load.outcome import Outcome


@dataclass(frozen=True, slots=True)
class Summary:
    """Times in seconds; NaN where nothing was measured."""

    requests: int
    errors: int
    prompt_tokens: int
    cached_tokens: int
    ttft_p50_s: float
    ttft_p99_s: float
    latency_p50_s: float
    per_worker: Mapping[str, int]
    """Answered requests by engine name."""
    first_error: str = ""

    @property
    def hit_rate(self) -> float:
        """Fraction of prompt tokens found in an engine's cache."""
        return self.cached_tokens / self.prompt_tokens if self.prompt_tokens else 0.0


def percentile(values: Sequence[float], fraction: float) -> float:
    """Nearest-rank percentile of sorted values: the least one that ``fraction`` of them do not exceed."""
    if not values:
        return nan
    return values[max(0, ceil(fraction * len(values)) - 1)]


def summarize(outcomes: Iterable[Outcome]) -> Summary:
    """Sum up a run; failed requests count as errors and nowhere else."""
    everything = list(outcomes)
    good = [outcome for outcome in everything if not outcome.error]
    failed = [outcome.error for outcome in everything if outcome.error]
    ttft_s = sorted(outcome.ttft_s for outcome in good if outcome.ttft_s is not None)
    return Summary(
        requests=len(everything),
        errors=len(failed),
        prompt_tokens=sum(outcome.prompt_tokens for outcome in good),
        cached_tokens=sum(outcome.cached_tokens for outcome in good),
        ttft_p50_s=percentile(ttft_s, 0.50),
        ttft_p99_s=percentile(ttft_s, 0.99),
        latency_p50_s=percentile(sorted(outcome.latency_s for outcome in good), 0.50),
        per_worker=dict(sorted(Counter(outcome.served_by for outcome in good).items())),
        first_error=failed[0] if failed else "",
    )
