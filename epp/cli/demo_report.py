"""What the demo found: one table, and whether it is good enough."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from io import StringIO

from rich.console import Console
from rich.table import Table

from epp.testing.load import Summary

_WIDTH = 100


@dataclass(frozen=True, slots=True)
class ActResult:
    """One policy under the demo's load."""

    policy: str
    summary: Summary
    picker_cpu_s: float
    """CPU the picker process used during the load, user and system."""

    @property
    def cpu_per_request_s(self) -> float:
        """Picker CPU divided by requests."""
        return self.picker_cpu_s / self.summary.requests if self.summary.requests else 0.0


@dataclass(frozen=True, slots=True)
class SplitResult:
    """What the second act showed."""

    summary: Summary
    pairs: Mapping[tuple[str, str], int]
    """Requests by (prefill engine, decode engine), as the picker chose them; at most its last 512."""
    sources: Mapping[str, int]
    """Prompt tokens of the decode engines by where they came from, as those engines count them."""
    frontend_cpu_s: float
    """CPU of the frontends during the load, user and system."""

    @property
    def split(self) -> int:
        """Requests that went to a pair."""
        return sum(count for (prefill, _), count in self.pairs.items() if prefill)


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms"


def _per_worker(result: ActResult) -> str:
    return " / ".join(str(count) for count in result.summary.per_worker.values())


_ROWS: tuple[tuple[str, Callable[[ActResult], str]], ...] = (
    ("requests", lambda result: str(result.summary.requests)),
    ("errors", lambda result: str(result.summary.errors)),
    ("prefix hit rate, by tokens", lambda result: f"{result.summary.hit_rate:.1%}"),
    ("time to first token, p50", lambda result: _milliseconds(result.summary.ttft_p50_s)),
    ("time to first token, p99", lambda result: _milliseconds(result.summary.ttft_p99_s)),
    ("requests per engine", _per_worker),
    ("picker CPU per request", lambda result: f"{result.cpu_per_request_s * 1000:.2f} ms"),
)


def table(results: Sequence[ActResult]) -> Table:
    """The comparison, one column per policy."""
    made = Table(title="The same load, twice", title_justify="left", show_edge=True)
    made.add_column("")
    for result in results:
        made.add_column(result.policy, justify="right")
    for label, cell in _ROWS:
        made.add_row(label, *(cell(result) for result in results))
    return made


def table_text(results: Sequence[ActResult]) -> str:
    """The table as plain text, without colours."""
    out = StringIO()
    Console(file=out, width=_WIDTH, color_system=None, force_terminal=False).print(table(results))
    return out.getvalue()


def split_table(result: SplitResult) -> Table:
    """The second act in a few lines."""
    made = Table(title="Prefill → decode through the gateway", title_justify="left", show_header=False)
    made.add_column("")
    made.add_column("", justify="right")
    summary, sources = result.summary, result.sources
    computed = sources.get("local_compute", 0)
    cpu_ms = result.frontend_cpu_s * 1000 / max(1, summary.requests)
    rows = (
        ("requests / failed", f"{summary.requests} / {summary.errors}"),
        ("served by a pair", str(result.split)),
        ("pairs used", "  ".join(_pair(pair, count) for pair, count in sorted(result.pairs.items()))),
        ("prompt tokens handed over", str(sources.get("external_kv_transfer", 0))),
        ("prompt tokens a decode engine computed itself", str(computed)),
        ("time to first token, p50 / p99", _p50_p99(summary)),
        ("frontend CPU per request", f"{cpu_ms:.2f} ms"),
    )
    for row in rows:
        made.add_row(*row)
    return made


def _pair(pair: tuple[str, str], count: int) -> str:
    return f"{pair[0] or 'none'}→{pair[1]} {count}"


def _p50_p99(summary: Summary) -> str:
    return f"{_milliseconds(summary.ttft_p50_s)} / {_milliseconds(summary.ttft_p99_s)}"


def split_shortcomings(result: SplitResult) -> list[str]:
    """Why the second act is not good enough; empty if it is."""
    summary = result.summary
    found: list[str] = []
    if summary.errors:
        found.append(f"prefill → decode: {summary.errors} requests failed, first: {summary.first_error}")
    if result.split < sum(result.pairs.values()):
        found.append("prefill → decode: some requests were not split")
    if not result.sources.get("external_kv_transfer"):
        found.append("prefill → decode: no prompt was handed over")
    return found


def shortcomings(before: ActResult, after: ActResult) -> list[str]:
    """Why ``after`` is not clearly better than ``before``; empty if it is."""
    found = [
        f"{result.policy}: {result.summary.errors} requests failed, first: {result.summary.first_error}"
        for result in (before, after)
        if result.summary.errors
    ]
    if not after.summary.hit_rate > before.summary.hit_rate:
        found.append(
            f"the prefix hit rate did not rise ({before.summary.hit_rate:.1%} → {after.summary.hit_rate:.1%})"
        )
    if not after.summary.ttft_p50_s < before.summary.ttft_p50_s:
        was, now = (_milliseconds(result.summary.ttft_p50_s) for result in (before, after))
        found.append(f"the median time to first token did not fall ({was} → {now})")
    return found
