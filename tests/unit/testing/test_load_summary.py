"""A run in numbers."""

from math import isnan

from epp.testing.load.outcome import Outcome
from epp.testing.load.plan import Kind
from epp.testing.load.summary import percentile, summarize


def outcome(index: int, **more: object) -> Outcome:
    return Outcome(index, Kind.CHAT, 0.0, 1.0, **more)  # type: ignore[arg-type] -- test data


def test_failed_requests_count_as_errors_and_nowhere_else() -> None:
    summary = summarize(
        [
            outcome(0, ttft_s=0.1, prompt_tokens=100, cached_tokens=40, served_by="e-1"),
            outcome(1, ttft_s=0.3, prompt_tokens=300, cached_tokens=160, served_by="e-0"),
            outcome(2, error="status 503", prompt_tokens=1000, cached_tokens=1000, served_by="e-0"),
        ]
    )
    assert (summary.requests, summary.errors, summary.first_error) == (3, 1, "status 503")
    assert summary.hit_rate == 0.5
    assert (summary.ttft_p50_s, summary.ttft_p99_s) == (0.1, 0.3)
    assert summary.per_worker == {"e-0": 1, "e-1": 1}


def test_nothing_measured_is_not_zero() -> None:
    summary = summarize([])
    assert isnan(summary.ttft_p50_s)
    assert summary.hit_rate == 0.0


def test_percentiles_are_nearest_rank() -> None:
    values = [float(value) for value in range(1, 101)]
    assert [percentile(values, f) for f in (0.0, 0.5, 0.99, 1.0)] == [1.0, 50.0, 99.0, 100.0]
