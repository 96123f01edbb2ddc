"""The table people read."""

import io
import json
from pathlib import Path
from typing import Any

import pytest

from epp.cli import explain


def row(worker: int, cost: float, phase: str = "aggregated", **fields: Any) -> dict[str, Any]:
    return {
        "worker_id": worker, "rank": 0, "endpoint": f"10.0.0.{worker}:8000", "name": "", "phase": phase,
        "cost": cost, "cached_tokens": 0, "uncached_tokens": 10.0, "active_prefill_tokens": 0,
        "potential_decode_blocks": 1, "active_requests": 0, "waiting_requests": 0, "kv_usage": 0.0,
        "prefill_tokens_per_s": 0.0, "predicted_ttft_s": 0.0,
    } | fields  # fmt: skip


PAGE = {
    "status": 200,
    "model": "llama",
    "prompt_tokens": 10,
    "tokens": "exact",
    "reason": "kv: 0 of 10 prompt tokens resident, cost 1",
    "worker": {"worker_id": 2, "rank": 0},
    "prefill_worker": None,
    "candidates": [row(1, 5.0, predicted_ttft_s=0.25), row(2, 1.0)],
    "scores": [],
}


@pytest.fixture
def request_file(tmp_path: Path) -> str:
    path = tmp_path / "request.json"
    path.write_text("{}")
    return str(path)


def answering(monkeypatch: pytest.MonkeyPatch, page: Any) -> None:
    """Let the picker answer with ``page``, or fail with it."""

    def urlopen(_request: object, timeout: float) -> io.BytesIO:
        assert timeout > 0
        if isinstance(page, Exception):
            raise page
        return io.BytesIO(page if isinstance(page, bytes) else json.dumps(page).encode())

    monkeypatch.setattr(explain.urllib.request, "urlopen", urlopen)


def test_the_chosen_row_is_marked_and_the_cheapest_comes_first() -> None:
    lines = explain.render(PAGE).splitlines()
    assert lines[:3] == [
        "model   llama",
        "prompt  10 tokens (exact)",
        "choice  kv: 0 of 10 prompt tokens resident, cost 1",
    ]
    assert lines[4].split()[:2] == ["endpoint", "rank"]
    assert lines[5].startswith("→")
    assert "10.0.0.2:8000" in lines[5]
    assert lines[6].endswith("250.0")


def test_scores_are_shown_below() -> None:
    score = {"weight": 2.0, "score": 0.5}
    rows = [
        {
            "profile": "default",
            "worker_id": 1,
            "rank": 0,
            "total": 1.0,
            "scores": {"queue": score},
            "dropped_by": None,
        },
        {
            "profile": "default",
            "worker_id": 2,
            "rank": 0,
            "total": 0.0,
            "scores": {},
            "dropped_by": "by-label",
        },
    ]
    text = explain.render({**PAGE, "scores": rows})
    assert "default: worker 1 rank 0: total 1.000  queue 2x0.500" in text
    assert "default: worker 2 rank 0: dropped by by-label" in text


@pytest.mark.parametrize(
    ("page", "status", "says"),
    [
        (PAGE, 0, "→"),
        (
            {"status": 503, "error": "nobody", "reason": "rejected-no-endpoints"},
            1,
            "nobody would be picked: 503",
        ),
    ],
)
def test_the_exit_status_says_whether_somebody_would_be_picked(
    page: Any, status: int, says: str, request_file: str,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    answering(monkeypatch, page)
    assert explain.run([request_file]) == status
    assert says in capsys.readouterr().out
    assert explain.run([request_file, "--json"]) == status
    assert json.loads(capsys.readouterr().out) == page


@pytest.mark.parametrize("page", [OSError("refused"), b"<html>", b"[]", {"error": "no such page"}])
def test_what_is_no_picker_is_said_in_one_line(
    page: Any, request_file: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answering(monkeypatch, page)
    assert explain.run([request_file]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_request_that_cannot_be_read(capsys: pytest.CaptureFixture[str]) -> None:
    assert explain.run(["/nowhere/request.json"]) == 2
    assert explain.run([__file__, "--header", "nonsense"]) == 2
    assert "a header needs a colon" in capsys.readouterr().err
