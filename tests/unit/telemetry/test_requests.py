"""Label values from outside become a bounded number of series."""

from prometheus_client import CollectorRegistry

from epp.core.endpoints import Endpoint, WorkerRank
from epp.core.outcomes import DropReason, Refused, ResponseFacts
from epp.core.router import Selection
from epp.telemetry.bounded import OTHER, BoundedLabels
from epp.telemetry.catalog import Catalog
from epp.telemetry.requests import MAX_LABEL_SETS, RequestLabels, RequestMetrics

SELECTION = Selection(WorkerRank(1, 0), None, 100, 40, 60, 16, 60.0, 1.0, 0.0)
REFUSED = Refused(503, "nobody", DropReason.NO_ENDPOINTS)


def endpoint(name: str) -> Endpoint:
    return Endpoint(name, "10.0.0.1", 8000, 1)


def series(catalog: Catalog, name: str) -> list[dict[str, str]]:
    return [s.labels for m in catalog.registry.collect() for s in m.samples if s.name == name]


def test_values_beyond_the_bound_are_other() -> None:
    bounded = BoundedLabels(2)
    assert [bounded(v) for v in ("a", "b", "c", "a")] == ["a", "b", OTHER, "a"]
    assert BoundedLabels()("x" * 257) == OTHER


def test_models_times_flows_is_bounded() -> None:
    catalog = Catalog(CollectorRegistry())
    metrics = RequestMetrics(catalog)
    for model in range(40):
        for flow in range(40):
            labels = metrics.labels(f"m{model}", f"m{model}", f"f{flow}", 0)
            metrics.refused(labels, REFUSED)
    assert len(series(catalog, "llm_d_epp_request_total")) == MAX_LABEL_SETS + 1
    assert len(series(catalog, "llm_d_epp_request_error_total")) == MAX_LABEL_SETS + 1
    assert metrics.labels("m39", "m39", "f39", 5) == RequestLabels(OTHER, OTHER, OTHER, "1")
    assert metrics.labels("m0", "m0", "f0", 0) == RequestLabels("m0", "m0", "f0", "0")


def test_priorities_are_signs() -> None:
    metrics = RequestMetrics(Catalog(CollectorRegistry()))
    assert [metrics.labels("m", "m", "", p).priority for p in (-7, 0, 9)] == ["-1", "0", "1"]


def test_series_of_an_endpoint_that_left_are_forgotten() -> None:
    catalog = Catalog(CollectorRegistry())
    metrics = RequestMetrics(catalog)
    labels = metrics.labels("m", "m", "", 0)
    for name in ("a", "b"):
        metrics.picked(labels, SELECTION, 10, endpoint(name))
    metrics.forget(endpoint("a"))
    metrics.forget(endpoint("never-picked"))
    shown = series(catalog, "llm_d_epp_scheduler_attempts_total")
    assert [labels["endpoint_name"] for labels in shown] == ["b"]


def test_reuse_is_summed() -> None:
    catalog = Catalog(CollectorRegistry())
    metrics = RequestMetrics(catalog)
    metrics.picked(metrics.labels("m", "m", "", 0), SELECTION, 10, endpoint("a"))
    value = catalog.registry.get_sample_value
    assert value("epp_prompt_tokens_total") == 100
    assert value("dynamo_component_router_kv_selected_cached_prefix_tokens_total") == 40
    assert value("dynamo_component_router_kv_best_eligible_cached_prefix_tokens_total") == 60
    assert value("dynamo_component_router_non_max_overlap_selections_total") == 1
    assert value("llm_d_epp_prefix_indexer_hit_ratio_sum") == 0.4
    assert value("llm_d_epp_disagg_decision_total", {"decision_type": "decode-only"}) == 1


def test_usage_of_the_response_is_observed() -> None:
    catalog = Catalog(CollectorRegistry())
    metrics = RequestMetrics(catalog)
    labels = metrics.labels("m", "m", "", 0)
    metrics.started(labels)
    facts = ResponseFacts(status=200, completion_tokens=20, response_bytes=999)
    metrics.finished(labels, 2.0, "completed", facts)
    value = catalog.registry.get_sample_value
    names = labels._asdict()
    assert value("llm_d_epp_request_output_tokens_sum", names) == 20
    assert value("llm_d_epp_request_ntpot_seconds_sum", names) == 0.1
    assert value("llm_d_epp_response_size_bytes_sum", names) == 999
    assert value("llm_d_epp_request_running", names) == 0
