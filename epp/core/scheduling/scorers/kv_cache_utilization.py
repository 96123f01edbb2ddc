"""``kv-cache-utilization-scorer``: free KV cache."""

from collections.abc import Sequence

from epp.core.scheduling.context import Candidate, SchedulingContext
from epp.core.scheduling.plugin import fill_unknown


class KvCacheUtilizationScorer:
    """1 - usage; unknown load: the mean of the others."""

    def score(
        self,
        context: SchedulingContext,  # noqa: ARG002 -- the contract's argument
        candidates: Sequence[Candidate],
    ) -> Sequence[float]:
        """The free fraction."""
        return fill_unknown([None if one.load is None else 1.0 - one.load.kv_usage for one in candidates])
