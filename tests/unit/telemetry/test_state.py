"""Gauges of the present, from one sample."""

from epp.core.endpoints import WorkerRank
from epp.core.router import LoadSample, RankLoad, RouterStats
from epp.core.scheduling.guarding import PluginReading
from epp.telemetry.state import Bound, RankState, StateCollector, StateSample

STATS = RouterStats(1, 1, 5, 4, 3, 2, 0)


def rank(number: int, *, fresh: bool = True, rate: float = 0.0, age_s: float | None = None) -> RankState:
    load = RankLoad(WorkerRank(number, 0), 1, 2, 3, 4, rate, LoadSample(number, 0, 0.0))
    return RankState(f"10.0.0.{number}:8000", "aggregated", load, fresh, age_s)


def values(*ranks: RankState, plugins: tuple[PluginReading, ...] = ()) -> dict[str, list[float]]:
    collector = StateCollector()
    collector.sample = StateSample(
        "pool", STATS, ranks, (Bound("bookings", 3, 9),), ready=True, plugins=plugins
    )
    found: dict[str, list[float]] = {}
    for metric in collector.collect():
        for sample in metric.samples:
            found.setdefault(sample.name, []).append(sample.value)
    return found


def test_stale_loads_are_left_out_of_the_means() -> None:
    shown = values(rank(1), rank(3), rank(100, fresh=False))
    assert shown["llm_d_epp_average_queue_size"] == [2]
    assert shown["llm_d_epp_std_dev_queue_size"] == [1]
    assert shown["llm_d_epp_per_endpoint_queue_size"] == [1, 3]
    assert shown["llm_d_epp_ready_endpoints"] == [3]


def test_an_empty_pool_is_zeros() -> None:
    shown = values()
    assert shown["llm_d_epp_average_queue_size"] == [0]
    assert "epp_worker_active_requests" not in shown


def test_what_is_not_known_is_absent() -> None:
    shown = values(rank(1, rate=100.0, age_s=2.0), rank(2))
    assert shown["epp_worker_prefill_tokens_per_second"] == [100]
    assert shown["epp_worker_event_age_seconds"] == [2]


def test_plugins_are_sampled() -> None:
    shown = values(plugins=(PluginReading("mine", 10, 2, 3, 0.5, 0.1, "ValueError: x"),))
    assert shown["llm_d_epp_plugin_duration_seconds_count"] == [10]
    assert shown["llm_d_epp_plugin_duration_seconds_sum"] == [0.5]
    assert shown["epp_plugin_errors_total"] == [2]
    assert shown["epp_plugin_slow_calls_total"] == [3]
