"""The metrics page against an independent parser."""

from dataclasses import replace

from prometheus_client.parser import text_string_to_metric_families

from epp.testing.engine import SimEngine
from epp.testing.engine.metrics import Finished, Histogram, RankMetrics, render_page
from tests.unit.testing.engines import SMALL, request, run_dry

_MIN_PAGE_BYTES = 30_000


def samples(page: str) -> dict[tuple[str, str], float]:
    """Values by (name, engine label)."""
    return {
        (sample.name, sample.labels.get("engine", "")): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
    }


def test_the_page_has_vllm_names_values_and_size() -> None:
    engine, metrics = SimEngine(SMALL), RankMetrics(SMALL, 0)
    for _ in range(2):
        engine.submit(request("a", range(12)), now_s=0.0)
        run_dry(engine)
    engine.submit(request("b", range(50, 60)), now_s=0.0)
    metrics.finished(Finished(1.0, 0.2, 12, 5))
    page = render_page([(metrics, engine)], unix_s=1.0)
    found = samples(page)
    assert len(page) > _MIN_PAGE_BYTES
    assert found["vllm:num_requests_running", "0"] == 1
    assert found["vllm:num_requests_waiting", "0"] == 0
    assert found["vllm:kv_cache_usage_perc", "0"] == 3 / 16
    assert found["vllm:prefix_cache_queries_total", "0"] == 34
    assert found["vllm:prefix_cache_hits_total", "0"] == 8
    assert found["vllm:e2e_request_latency_seconds_count", "0"] == 1


def test_the_cache_describes_itself() -> None:
    page = render_page([(RankMetrics(SMALL, 0), SimEngine(SMALL))], unix_s=1.0)
    (info,) = [f for f in text_string_to_metric_families(page) if f.name == "vllm:cache_config_info"]
    labels = info.samples[0].labels
    assert (labels["block_size"], labels["num_gpu_blocks"]) == ("4", "17")


def test_adapters_are_listed_with_a_date() -> None:
    config = replace(SMALL, loras=("x", "y"))
    engine = SimEngine(config)
    engine.submit(request("a", range(4), lora=("x", 1)), now_s=0.0)
    page = render_page([(RankMetrics(config, 0), engine)], unix_s=123.5)
    (info,) = [f for f in text_string_to_metric_families(page) if f.name == "vllm:lora_requests_info"]
    assert info.samples[0].labels == {
        "max_lora": "2", "running_lora_adapters": "x", "waiting_lora_adapters": "",
    }  # fmt: skip
    assert info.samples[0].value == 123.5


def test_ranks_share_families() -> None:
    ranks = [(RankMetrics(SMALL, rank), SimEngine(SMALL)) for rank in range(2)]
    page = render_page(ranks, unix_s=1.0)
    assert page.count("# TYPE vllm:num_requests_running ") == 1
    assert {engine for name, engine in samples(page) if name == "vllm:num_requests_running"} == {"0", "1"}


def test_a_histogram_counts_into_its_buckets() -> None:
    histogram = Histogram("h", "A test.", 'a="b"', (1.0, 2.0))
    assert 'h_count{a="b"} 0' in histogram.render()
    for value in (0.5, 1.0, 1.5, 9.0):
        histogram.observe(value)
    (family,) = text_string_to_metric_families(histogram.head + histogram.render())
    buckets = {s.labels["le"]: s.value for s in family.samples if s.name == "h_bucket"}
    assert buckets == {"1.0": 2, "2.0": 3, "+Inf": 4}
