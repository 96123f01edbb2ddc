"""The table and the document."""

import dataclasses
import json

import pytest

from epp.conformance.bench import Target
from epp.conformance.catalogue import CASES
from epp.conformance.model import Level, Result, Verdict
from epp.conformance.report import Style, conforms, document, table
from epp.conformance.transport import Address, Security

TARGET = Target(Address("::1", 9002, Security.PLAINTEXT), ("10.0.0.1:80",))
BY_ID = {case.id: case for case in CASES}
HEADER, BYTES, UNKNOWN = (BY_ID[name] for name in ("destination.header", "body.bytes", "health.unknown"))
GOOD = Result(HEADER, Verdict.PASS, "10.0.0.1:80", 0.0012)
WORSE = Result(BYTES, Verdict.FAIL, "12 bytes came back as 11 others", 0.001)
BAD = Result(HEADER, Verdict.FAIL, "no such header", 0.001)
UNTRIED = Result(UNKNOWN, Verdict.SKIP, "no health service", 0.0)


@pytest.mark.parametrize(
    ("results", "expected"),
    [([GOOD, WORSE, UNTRIED], True), ([], True), ([GOOD, BAD], False)],
)
def test_only_required_cases_decide(results: list[Result], expected: bool) -> None:
    assert (HEADER.level, BYTES.level) == (Level.REQUIRED, Level.RECOMMENDED)
    assert conforms(results) is expected


def test_the_table() -> None:
    lines = table(TARGET, [GOOD, WORSE, UNTRIED]).splitlines()
    assert lines[:2] == [
        "endpoint picker conformance · profile epp",
        "[::1]:9002 (plaintext), 1 endpoint known",
    ]
    assert "  PASS  required     destination.header              10.0.0.1:80" in lines
    failed = lines.index(
        "  FAIL  recommended  body.bytes                      12 bytes came back as 11 others"
    )
    assert lines[failed + 1].startswith("                     expected  A body comes back byte for byte")
    assert "  SKIP  optional     health.unknown                  no health service" in lines
    assert "recommended     0     1     0" in lines
    assert "no required case fails" in lines
    assert all(line == line.rstrip() for line in lines)


def test_a_failure_is_counted_and_coloured() -> None:
    text = table(TARGET, [BAD], Style(colours=True))
    assert "1 required case fails" in text
    assert "\x1b[31;1mFAIL\x1b[0m" in text


def test_notes_are_wrapped_and_can_be_had_for_all() -> None:
    wordy = dataclasses.replace(HEADER, expected="word " * 60)
    lines = table(TARGET, [dataclasses.replace(GOOD, case=wordy)], Style(verbose=True, width=80)).splitlines()
    notes = [line for line in lines if line.strip().startswith(("expected", "word"))]
    assert len(notes) > 3
    assert max(map(len, notes)) <= 80


def test_the_document() -> None:
    report = document(TARGET, [GOOD, WORSE])
    assert json.loads(json.dumps(report)) == report
    assert report["target"] == {
        "address": "[::1]:9002",
        "security": "plaintext",
        "endpoints": ["10.0.0.1:80"],
        "model": "model",
    }
    assert report["summary"]["recommended"] == {"pass": 0, "fail": 1, "skip": 0}
    assert (report["format"], report["conforms"], report["profile"]) == (1, True, "epp")
    assert report["results"][0] == {
        "id": "destination.header",
        "level": "required",
        "verdict": "PASS",
        "expected": HEADER.expected,
        "seen": "10.0.0.1:80",
        "source": HEADER.source,
        "duration_ms": 1.2,
    }
