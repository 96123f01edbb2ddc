"""docs/metrics.md is what the declarations say."""

from pathlib import Path

from prometheus_client import CollectorRegistry

from epp.telemetry.catalog import Catalog
from epp.telemetry.reference import render
from epp.telemetry.state import StateCollector

PAGE = Path(__file__).parents[3] / "docs" / "metrics.md"


def test_the_page_is_fresh() -> None:
    assert PAGE.read_text() == render(), "run: python -m epp.telemetry.reference > docs/metrics.md"


def test_it_names_every_family_of_the_registry() -> None:
    page = render()
    registry = Catalog(CollectorRegistry()).registry
    names = [metric.name for metric in registry.collect()]
    assert len(names) > 50
    assert [name for name in names if f"`{name}" not in page] == []


def test_names_dashboards_read_are_there() -> None:
    page = render()
    for name in (
        "llm_d_epp_request_total", "llm_d_epp_request_running", "llm_d_epp_request_ttft_seconds",
        "llm_d_epp_ready_endpoints", "llm_d_epp_std_dev_queue_size", "llm_d_epp_info",
        "llm_d_epp_scheduler_e2e_duration_seconds", "llm_d_epp_extproc_streams_inflight",
        "dynamo_epp_cached_tokens", "dynamo_component_router_requests_started_total",
    ):  # fmt: skip
        assert f"`{name}`" in page


def test_nothing_is_shown_before_the_first_sample() -> None:
    assert list(StateCollector().collect()) == []
