"""The demo's table, verdict and progress."""

from io import StringIO

from rich.console import Console

from epp.cli.demo import load_spec
from epp.cli.demo_progress import progress
from epp.cli.demo_report import (
    ActResult,
    SplitResult,
    shortcomings,
    split_shortcomings,
    split_table,
    table_text,
)
from epp.testing.load import Summary


def act(policy: str, cached: int, p50_s: float, errors: int = 0) -> ActResult:
    summary = Summary(
        requests=200,
        errors=errors,
        prompt_tokens=1000,
        cached_tokens=cached,
        ttft_p50_s=p50_s,
        ttft_p99_s=1.25,
        latency_p50_s=1.0,
        per_worker={"engine-0": 120, "engine-1": 80},
        first_error="status 503: no endpoint" if errors else "",
    )
    return ActResult(policy, summary, picker_cpu_s=0.1)


BEFORE, AFTER = act("round-robin", 425, 0.216), act("kv", 660, 0.054)


def test_the_table_shows_both_policies_side_by_side() -> None:
    lines = table_text([BEFORE, AFTER]).splitlines()
    rows = {
        cells[0].strip(): [cell.strip() for cell in cells[1:]]
        for line in lines
        if (cells := line.split("│")[1:-1])
    }
    assert rows["prefix hit rate, by tokens"] == ["42.5%", "66.0%"]
    assert rows["time to first token, p50"] == ["216 ms", "54 ms"]
    assert rows["time to first token, p99"] == ["1250 ms", "1250 ms"]
    assert rows["requests per engine"] == ["120 / 80", "120 / 80"]
    assert rows["picker CPU per request"] == ["0.50 ms", "0.50 ms"]
    assert max(len(line) for line in lines) <= 100


def test_better_on_both_counts_is_good() -> None:
    assert shortcomings(BEFORE, AFTER) == []


def test_each_shortcoming_is_named() -> None:
    worse = act("kv", 425, 0.216, errors=3)
    failed, hits, ttft = shortcomings(BEFORE, worse)
    assert failed == "kv: 3 requests failed, first: status 503: no endpoint"
    assert hits == "the prefix hit rate did not rise (42.5% → 42.5%)"
    assert ttft == "the median time to first token did not fall (216 ms → 216 ms)"


def test_no_measurement_at_all_is_no_improvement() -> None:
    nothing = ActResult("kv", Summary(0, 0, 0, 0, float("nan"), float("nan"), float("nan"), {}), 0.0)
    assert len(shortcomings(BEFORE, nothing)) == 2
    assert nothing.cpu_per_request_s == 0.0


def test_without_a_terminal_progress_is_a_few_lines() -> None:
    out = StringIO()
    with progress(Console(file=out, width=80), "kv") as report:
        for done in range(1, 101):
            report(done, 100)
    assert out.getvalue().splitlines() == ["kv: 25/100", "kv: 50/100", "kv: 75/100", "kv: 100/100"]


def test_the_demo_load_is_what_the_caches_are_sized_for() -> None:
    spec = load_spec(20.0, 10.0)
    repeated_words = spec.documents * spec.document_words + spec.systems * spec.system_words
    one_cache, caches = 1299 * 16, 4 * 1299 * 16
    assert one_cache < repeated_words < caches


def split(pairs: dict[tuple[str, str], int], handed_over: int = 900, errors: int = 0) -> SplitResult:
    sources = {"external_kv_transfer": handed_over, "local_compute": 3}
    return SplitResult(act("split", 0, 0.1, errors).summary, pairs, sources, frontend_cpu_s=0.4)


PAIR = {("prefill-0", "decode-1"): 200}


def test_the_second_act_shows_pairs_and_where_prompts_were_computed() -> None:
    out = StringIO()
    Console(file=out, width=100).print(split_table(split(PAIR)))
    for text in ("200 / 0", "prefill-0→decode-1 200", "900", "100 ms / 1250 ms", "2.00 ms"):
        assert text in out.getvalue()


def test_the_second_act_is_good_when_every_request_had_a_pair() -> None:
    assert split_shortcomings(split(PAIR)) == []
    assert "3 requests failed" in split_shortcomings(split(PAIR, errors=3))[0]
    assert "not split" in split_shortcomings(split(PAIR | {("", "decode-0"): 1}))[0]
    assert "no prompt" in split_shortcomings(split(PAIR, handed_over=0))[0]
