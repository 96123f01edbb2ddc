"""``utilization-filter``: drops endpoints above any of a few caps."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from epp.config.kinds import BOOLEAN, TEXT, choice, real
from epp.config.tree import Fields
from epp.core.scheduling.context import Candidate, SchedulingContext

_METRICS: dict[str, Callable[[Candidate], float | None]] = {
    "active-requests": lambda c: float(c.terms.active_requests),
    "running-requests": lambda c: None if c.load is None else float(c.load.running_requests),
    "waiting-queue": lambda c: None if c.load is None else float(c.load.waiting_requests),
    "kv-cache-utilization": lambda c: None if c.load is None else c.load.kv_usage,
}
_METRIC = choice(*_METRICS)


@dataclass(frozen=True, slots=True)
class UtilizationFilter:
    """Keeps endpoints within every cap; one whose load is unknown passes, as nothing speaks against it."""

    caps: tuple[tuple[str, float], ...]
    """(metric, greatest value)."""
    falls_back: bool = False
    """Keep everyone when nobody is within the caps."""

    @classmethod
    def from_fields(cls, fields: Fields) -> "UtilizationFilter":
        """Parameters ``conditions`` (each ``metric``, ``maxValue``) and ``fallbackOnEmpty``."""
        fields.scalar("inFlightLoadProducerName", TEXT)
        caps = tuple(_read_cap(entry) for entry in fields.each("conditions"))
        if not caps:
            raise fields.error("conditions", "must list at least one condition")
        return cls(caps, fields.scalar("fallbackOnEmpty", BOOLEAN, False))

    def keep(
        self,
        context: SchedulingContext,  # noqa: ARG002 -- the contract's argument
        candidates: Sequence[Candidate],
    ) -> Sequence[Candidate]:
        """Those within the caps."""
        kept = [one for one in candidates if all(_is_within(one, *cap) for cap in self.caps)]
        return candidates if self.falls_back and not kept else kept


def _read_cap(entry: Fields) -> tuple[str, float]:
    metric: str = entry.required("metric", _METRIC)
    most: float = entry.required("maxValue", real(0.0, 1.0 if metric == "kv-cache-utilization" else 1e9))
    entry.end()
    return metric, most


def _is_within(candidate: Candidate, metric: str, most: float) -> bool:
    value = _METRICS[metric](candidate)
    return value is None or value <= most
