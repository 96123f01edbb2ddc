"""Results as a table for people and as a JSON document for programs."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from epp import __version__
from epp.conformance.bench import Target
from epp.conformance.catalogue import AREAS, NOT_TESTABLE
from epp.conformance.model import Level, Result, Verdict

FORMAT_VERSION: Final = 1
"""Of the JSON document; raised when a field changes its meaning or goes."""

_COLOURS: Final = {Verdict.PASS: "32", Verdict.FAIL: "31;1", Verdict.SKIP: "33"}
_NOTE_AT: Final = 21
"""Column where the notes of a case begin: under its id."""
_ID_WIDTH: Final = 30


@dataclass(frozen=True, slots=True)
class Style:
    """How the table is drawn."""

    colours: bool = False
    width: int = 110
    """Columns that notes are wrapped to."""
    verbose: bool = False
    """Say of every case what was expected, not only of those that failed."""

    def paint(self, text: str, code: str) -> str:
        """Text in an ANSI colour, or as it is."""
        return f"\x1b[{code}m{text}\x1b[0m" if self.colours else text


def conforms(results: Sequence[Result]) -> bool:
    """Whether no required case failed."""
    return not any(result.decides for result in results)


# --- for people -------------------------------------------------------------------------------------------


def title(target: Target) -> str:
    """The first lines: who is tested, and what is known of it."""
    known = len(target.endpoints)
    endpoints = "1 endpoint known" if known == 1 else f"{known or 'no'} endpoints known"
    where = f"{target.address} ({target.address.security})"
    return f"endpoint picker conformance · profile {target.profile}\n{where}, {endpoints}"


def area_line(area: str, style: Style) -> str:
    """The heading of an area."""
    return f"\n{style.paint(area, '1')}  {AREAS[area]}"


def result_lines(result: Result, style: Style) -> str:
    """One case: its verdict, level and id, and what came; what was expected, where it failed."""
    case = result.case
    verdict = style.paint(f"{result.verdict:<4}", _COLOURS[result.verdict])
    lines = [f"  {verdict}  {case.level:<11}  {case.id:<{_ID_WIDTH}}  {result.seen}"]
    if result.verdict is Verdict.FAIL or style.verbose:
        lines += _note("expected", case.expected, style)
        lines += _note("source", case.source, style)
    return "\n".join(lines)


def summary(results: Sequence[Result], style: Style) -> str:
    """The counts per level, the verdict, and what was not tried."""
    rows = [f"{'':<11}  {'pass':>4}  {'fail':>4}  {'skip':>4}"]
    for level in Level:
        counts = Counter(result.verdict for result in results if result.case.level is level)
        cells = "  ".join(f"{counts[verdict]:>4}" for verdict in Verdict)
        rows.append(f"{level:<11}  {cells}")
    good = conforms(results)
    failed = sum(result.decides for result in results)
    cases = "1 required case fails" if failed == 1 else f"{failed} required cases fail"
    words = "no required case fails" if good else cases
    closing = style.paint(words, "32;1" if good else "31;1")
    untried = [f"  - {text}" for text in NOT_TESTABLE]
    return "\n".join(["", *rows, "", closing, "", "not testable from outside:", *untried])


def table(target: Target, results: Sequence[Result], style: Style = Style()) -> str:
    """The whole report as text."""
    lines, area = [title(target)], ""
    for result in results:
        if result.case.area != area:
            area = result.case.area
            lines.append(area_line(area, style))
        lines.append(result_lines(result, style))
    return "\n".join([*lines, summary(results, style)])


def _note(label: str, text: str, style: Style) -> list[str]:
    first, *rest = _wrapped(text, style.width - _NOTE_AT - 10)
    margin = " " * _NOTE_AT
    return [f"{margin}{label:<8}  {first}", *(f"{margin}{'':<8}  {line}" for line in rest)]


def _wrapped(text: str, width: int) -> list[str]:
    lines = [""]
    for word in text.split():
        if lines[-1] and len(lines[-1]) + 1 + len(word) > width:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".lstrip()
    return lines


# --- for programs -----------------------------------------------------------------------------------------


def document(target: Target, results: Sequence[Result]) -> dict[str, Any]:
    """The report as plain data; described in docs/conformance.md."""
    return {
        "format": FORMAT_VERSION,
        "tool": {"name": "epp conformance", "version": __version__},
        "target": {
            "address": str(target.address),
            "security": target.address.security.name.lower(),
            "endpoints": list(target.endpoints),
            "model": target.model,
        },
        "profile": target.profile.value,
        "conforms": conforms(results),
        "summary": {level.value: _counts(results, level) for level in Level},
        "results": [_entry(result) for result in results],
        "not_testable": list(NOT_TESTABLE),
    }


def _counts(results: Sequence[Result], level: Level) -> dict[str, int]:
    of_level = [result.verdict for result in results if result.case.level is level]
    return {verdict.value.lower(): of_level.count(verdict) for verdict in Verdict}


def _entry(result: Result) -> dict[str, Any]:
    case = result.case
    return {
        "id": case.id,
        "level": case.level.value,
        "verdict": result.verdict.value,
        "expected": case.expected,
        "seen": result.seen,
        "source": case.source,
        "duration_ms": round(result.duration_s * 1e3, 1),
    }
