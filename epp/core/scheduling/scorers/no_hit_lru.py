"""``no-hit-lru-scorer``: spreads prompts that nobody holds, so that caches grow evenly."""

from collections import OrderedDict
from collections.abc import Sequence

from epp.config.kinds import TEXT, whole
from epp.config.tree import Fields
from epp.core.endpoints import WorkerRank
from epp.core.scheduling.context import Candidate, SchedulingContext
from epp.core.scheduling.plugin import NEUTRAL

_DEFAULT_SIZE = 1024


class NoHitLruScorer:
    """Cold request: the candidate that took a cold one longest ago 1, the latest 0. Warm request: 0.5."""

    def __init__(self, size: int = _DEFAULT_SIZE) -> None:
        self._size = size
        self._used: OrderedDict[WorkerRank, None] = OrderedDict()

    @classmethod
    def from_fields(cls, fields: Fields) -> "NoHitLruScorer":
        """Parameter ``lruSize``; names of prefix plugins have no counterpart here."""
        for name in ("prefixPluginType", "prefixPluginName", "prefixMatchInfoProducerName"):
            fields.scalar(name, TEXT)
        return cls(fields.scalar("lruSize", whole(1, 1_000_000), _DEFAULT_SIZE))

    def score(
        self,
        context: SchedulingContext,
        candidates: Sequence[Candidate],
    ) -> Sequence[float]:
        """By how long ago each took a cold request; never is longest."""
        if not _is_cold(context):
            return [NEUTRAL] * len(candidates)
        if len(candidates) == 1:
            return [1.0]
        age = {worker: i for i, worker in enumerate(self._used)}
        order = sorted(candidates, key=lambda one: age.get(one.worker, -1))
        rank = {id(one): i for i, one in enumerate(order)}
        return [1.0 - rank[id(one)] / (len(candidates) - 1) for one in candidates]

    def chosen(self, context: SchedulingContext, candidate: Candidate) -> None:
        """Remember who took a cold request."""
        if not _is_cold(context):
            return
        self._used[candidate.worker] = None
        self._used.move_to_end(candidate.worker)
        if len(self._used) > self._size:
            self._used.popitem(last=False)


def _is_cold(context: SchedulingContext) -> bool:
    return all(one.terms.cached_tokens == 0 for one in context.candidates)
