"""Gauges of what exists right now, taken only when somebody scrapes.

The router belongs to the event loop, a scrape is served by a thread: the loop makes a
:class:`StateSample`, the thread renders it.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean, pstdev

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric, SummaryMetricFamily
from prometheus_client.registry import Collector

from epp import __version__
from epp.core.router import RankLoad, RouterStats
from epp.core.scheduling.guarding import PluginReading


@dataclass(frozen=True, slots=True)
class RankState:
    """One rank, with the names people know it by."""

    endpoint: str
    """``ip:port``."""
    role: str
    load: RankLoad
    fresh: bool
    """The scraped part is recent enough to mean something."""
    event_age_s: float | None
    """Since the last KV event message; None: none yet."""


@dataclass(frozen=True, slots=True)
class Bound:
    """One thing that may not grow for ever."""

    name: str
    used: float
    limit: float


@dataclass(frozen=True, slots=True)
class StateSample:
    """Everything the gauges need, at one moment."""

    pool_name: str
    stats: RouterStats
    ranks: tuple[RankState, ...]
    bounds: tuple[Bound, ...]
    ready: bool
    plugins: tuple[PluginReading, ...] = ()


class StateCollector(Collector):
    """Renders the last sample; empty until the first one."""

    def __init__(self) -> None:
        self.sample: StateSample | None = None

    def collect(self) -> Iterable[Metric]:
        """Metric families for prometheus_client."""
        sample = self.sample
        if sample is None:
            return
        yield from _pool(sample)
        yield from _index(sample)
        yield from _ranks(sample)
        yield from _bounds(sample)
        yield from _plugins(sample)


def _gauge(name: str, text: str, labels: list[str], rows: Iterable[tuple[list[str], float]]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=labels)
    for values, value in rows:
        family.add_metric(values, value)
    return family


def _pool(sample: StateSample) -> Iterator[Metric]:
    fresh = [r.load.scraped for r in sample.ranks if r.fresh]
    pool = [sample.pool_name]
    endpoints = len({r.load.worker.worker_id for r in sample.ranks})
    yield _gauge("llm_d_epp_ready_endpoints", "Endpoints that may be picked.", ["name"], [(pool, endpoints)])
    averages = (
        ("queue_size", "waiting requests", [s.waiting_requests for s in fresh]),
        ("running_requests", "running requests", [s.running_requests for s in fresh]),
        ("kv_cache_utilization", "KV cache utilization, 0..1", [s.kv_usage for s in fresh]),
    )
    for name, words, values in averages:
        mean, spread = _mean_and_spread(values)
        yield _gauge(f"llm_d_epp_average_{name}", f"Mean scraped {words}.", ["name"], [(pool, mean)])
        text = f"Standard deviation of scraped {words}."
        yield _gauge(f"llm_d_epp_std_dev_{name}", text, ["name"], [(pool, spread)])
    queued: Counter[str] = Counter()
    for rank in sample.ranks:
        if rank.fresh:
            queued[rank.endpoint] += rank.load.scraped.waiting_requests
    yield _gauge(
        "llm_d_epp_per_endpoint_queue_size",
        "Scraped waiting requests, all ranks of the endpoint.",
        ["name", "model_server_endpoint"],
        [([*pool, endpoint], float(waiting)) for endpoint, waiting in queued.items()],
    )
    yield _gauge("epp_ready", "1: ready to pick.", [], [([], float(sample.ready))])
    about = [([__version__, ""], 1.0)]
    yield _gauge("llm_d_epp_info", "1; the build is in the labels.", ["build_ref", "commit"], about)


def _index(sample: StateSample) -> Iterator[Metric]:
    stats = sample.stats
    rows = (
        ("llm_d_epp_prefix_indexer_size", "Resident (worker, rank, block) entries.", stats.resident_pairs),
        ("epp_index_distinct_blocks", "Distinct blocks known.", stats.distinct_blocks),
        (
            "epp_index_predicted_blocks",
            "Blocks assumed resident because they were sent.",
            stats.predicted_blocks,
        ),
        ("epp_router_memory_bytes", "Memory of the native router; 0: not measured.", stats.memory_bytes),
        ("epp_bookings", "Requests booked on workers.", stats.bookings),
    )
    for name, text, value in rows:
        yield _gauge(name, text, [], [([], float(value))])


def _ranks(sample: StateSample) -> Iterator[Metric]:
    labels = ["worker_id", "dp_rank", "worker_type", "endpoint"]

    def rows(values: Iterable[tuple[RankState, float | None]]) -> list[tuple[list[str], float]]:
        return [
            ([str(r.load.worker.worker_id), str(r.load.worker.rank), r.role, r.endpoint], value)
            for r, value in values
            if value is not None
        ]

    families = (
        ("dynamo_frontend_worker_active_decode_blocks", "Decode blocks booked.",
         [(r, float(r.load.active_decode_blocks)) for r in sample.ranks]),
        ("dynamo_frontend_worker_active_prefill_tokens", "Prompt tokens booked and not computed yet.",
         [(r, float(r.load.active_prefill_tokens)) for r in sample.ranks]),
        ("epp_worker_active_requests", "Requests booked.",
         [(r, float(r.load.active_requests)) for r in sample.ranks]),
        ("epp_worker_resident_blocks", "Blocks known to be resident.",
         [(r, float(r.load.resident_blocks)) for r in sample.ranks]),
        ("epp_worker_prefill_tokens_per_second", "Learnt prefill rate; absent: not learnt yet.",
         [(r, r.load.prefill_tokens_per_s or None) for r in sample.ranks]),
        ("epp_worker_event_age_seconds", "Since the last KV event message; absent: none yet.",
         [(r, r.event_age_s) for r in sample.ranks]),
    )  # fmt: skip
    for name, text, values in families:
        yield _gauge(name, text, labels, rows(values))


def _bounds(sample: StateSample) -> Iterator[Metric]:
    used = [([b.name], b.used) for b in sample.bounds]
    limit = [([b.name], b.limit) for b in sample.bounds]
    yield _gauge("epp_bound_used", "How much of each bounded thing is in use.", ["bound"], used)
    yield _gauge("epp_bound_limit", "Where each bounded thing ends.", ["bound"], limit)


def _plugins(sample: StateSample) -> Iterator[Metric]:
    duration = SummaryMetricFamily(
        "llm_d_epp_plugin_duration_seconds", "Time in one foreign plugin, all calls.", labels=["plugin_name"]
    )
    errors = CounterMetricFamily(
        "epp_plugin_errors", "Calls of a plugin that raised; it counted as neutral.", labels=["plugin_name"]
    )
    slow = CounterMetricFamily(
        "epp_plugin_slow_calls", "Calls of a plugin that took longer than 1 ms.", labels=["plugin_name"]
    )
    for reading in sample.plugins:
        name = [reading.plugin]
        duration.add_metric(name, reading.calls, reading.seconds)
        errors.add_metric(name, reading.failures)
        slow.add_metric(name, reading.slow)
    yield from (duration, errors, slow)


def _mean_and_spread(values: Sequence[float]) -> tuple[float, float]:
    """Mean and population standard deviation; zeros of nothing."""
    return (fmean(values), pstdev(values)) if values else (0.0, 0.0)
