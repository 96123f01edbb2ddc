"""Requests that find everybody busy wait for their turn."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.integration.frontend.conftest import MODEL, Front, Site, until
from tests.integration.frontend.tolerance.workers import Worker, asking, metrics, tokens_known, working

CHAT = "/v1/chat/completions"
ONE_AT_A_TIME = ("--active-decode-blocks-threshold", "0.0")
"""A worker that holds any block in decode is busy."""
WORDS = {"long": 300, "short": 40, "middle": 120}
"""Prompts in order of arrival, each longer than a block."""
TURN = 110
"""Tokens of an answer that takes more than a second."""
FIRST = "first " * 40


@pytest.fixture(scope="module")
def engine(site: Site, tiny_model: Path) -> Iterator[Worker]:
    flags = ("--prefill-tokens-per-s", "20000", "--decode-tokens-per-s", "100")
    worker = Worker("only", site.folder, tiny_model, flags)
    with working(worker):
        yield worker


def fronted(site: Site, engine: Worker, *flags: str) -> Front:
    """A frontend that knows what the worker holds."""
    model = ("--model-path", str(site.model_dir), "--model-name", MODEL)
    patient = ("--queue-timeout", "100s")
    front = site.frontend(site.endpoints(engine.entry()), *model, *patient, *flags).listed().serves()
    until(lambda: tokens_known(front), "the model's tokenizer")
    until(lambda: _measured(front), "the worker's size")
    until(lambda: not _busy(front), "the end of the request that measured")
    return front


def _busy(front: Front) -> bool:
    return front.http.post("/v1/route", json={"model": MODEL, "prompt": "x"}).status_code != 200


def _measured(front: Front) -> bool:
    """Its blocks have been scraped: a request makes the pool busy."""
    with front.http.stream("POST", CHAT, json=body(FIRST, 400, stream=True)) as answer:
        lines = answer.iter_lines()  # dropped, it would close the connection
        next(lines)
        return _busy(front)


def body(text: str, tokens: int = 5, **more: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": text}]
    return {"model": MODEL, "messages": messages, "max_tokens": tokens, "ignore_eos": True, **more}


def waiting(front: Front) -> float:
    return sum(metrics(front.http, "queued_requests").values())


class Crowd:
    """Requests on threads of their own, behind one that keeps the only worker busy."""

    def __init__(self, front: Front) -> None:
        self.front = front

    def ask(self, asked: dict[str, Any]) -> httpx.Response:
        return httpx.post(self.front.url + CHAT, json=asked, timeout=60)

    def behind(
        self, pool: ThreadPoolExecutor, names: dict[str, dict[str, Any]]
    ) -> list[Future[httpx.Response]]:
        """Enter the line one after the other."""
        futures = []
        for count, (name, asked) in enumerate(names.items(), 1):
            futures.append(pool.submit(self.ask, asked))
            until(lambda count=count: waiting(self.front) == count, f"{name} waits")  # type: ignore[misc]
        return futures


@pytest.mark.parametrize(
    ("policy", "order"),
    [
        ("fcfs", ["long", "short", "middle"]),
        ("lcfs", ["middle", "short", "long"]),
        ("wspt", ["short", "middle", "long"]),
    ],
)
def test_order(site: Site, engine: Worker, policy: str, order: list[str]) -> None:
    front = fronted(
        site, engine, *ONE_AT_A_TIME, "--queue-max-requests", "9", "--router-queue-policy", policy
    )
    asked = {name: body("word " * words, TURN) for name, words in WORDS.items()}
    with ThreadPoolExecutor(4) as pool:
        with front.http.stream("POST", CHAT, json=body(FIRST, 2000, stream=True)) as first:
            lines = first.iter_lines()  # dropped, it would close the connection
            next(lines)
            waiting_for = Crowd(front).behind(pool, asked)
        answers = dict(zip(asked, [future.result() for future in waiting_for], strict=True))
    assert [answer.status_code for answer in answers.values()] == [200] * 3
    assert sorted(answers, key=lambda name: answers[name].json()["created"]) == order
    assert waiting(front) == 0
    front.child.stop()


def test_a_bound_and_clients_that_leave(site: Site, engine: Worker) -> None:
    front = fronted(site, engine, *ONE_AT_A_TIME, "--queue-max-requests", "1")
    with front.http.stream("POST", CHAT, json=body(FIRST, 4000, stream=True)) as first:
        lines = first.iter_lines()  # dropped, it would close the connection
        next(lines)
        with asking(front, body("gone")):
            until(lambda: waiting(front) == 1, "one waits")
            refused = httpx.post(front.url + CHAT, json=body("too many"), timeout=60)
            assert (refused.status_code, refused.headers["retry-after"]) == (529, "1")
            assert refused.json()["message"] == "Service temporarily overloaded"
            turned_away = metrics(front.http, "router_queue_backpressure_total")
            assert any('reason="request_limit"' in name and n == 1 for name, n in turned_away.items())
        until(lambda: waiting(front) == 0, "the line is empty")
    until(lambda: engine.load() == (0, 0), "the worker is free")
    assert httpx.post(front.url + CHAT, json=body("now"), timeout=60).status_code == 200
    front.child.stop()


def test_a_deadline(site: Site, engine: Worker) -> None:
    flags = ("--queue-max-requests", "1", "--queue-timeout", "500ms")
    front = fronted(site, engine, *ONE_AT_A_TIME, *flags)
    with front.http.stream("POST", CHAT, json=body(FIRST, 4000, stream=True)) as first:
        lines = first.iter_lines()  # dropped, it would close the connection
        next(lines)
        late = httpx.post(front.url + CHAT, json=body("late"), timeout=60)
        assert (late.status_code, late.headers["retry-after"]) == (529, "1")
        turned_away = metrics(front.http, "router_queue_backpressure_total")
        assert not any('reason="request_limit"' in name for name in turned_away)
        assert waiting(front) == 0
    front.child.stop()


def test_tokens_in_line_are_bounded(site: Site, engine: Worker) -> None:
    front = fronted(site, engine, *ONE_AT_A_TIME, "--queue-max-requests", "9", "--queue-max-tokens", "100")
    with ThreadPoolExecutor(2) as pool:
        with front.http.stream("POST", CHAT, json=body(FIRST, 4000, stream=True)) as first:
            lines = first.iter_lines()  # dropped, it would close the connection
            next(lines)
            large = pool.submit(Crowd(front).ask, body("word " * 500))
            until(lambda: waiting(front) == 1, "one waits, however large")
            assert httpx.post(front.url + CHAT, json=body("more"), timeout=60).status_code == 529
            turned_away = metrics(front.http, "router_queue_backpressure_total")
            assert any('reason="raw_isl_token_limit"' in name for name in turned_away)
        assert large.result().status_code == 200
    front.child.stop()


def test_thresholds_set_while_running(site: Site, engine: Worker) -> None:
    """Nobody may wait here: who finds everybody busy is refused at once."""
    front = fronted(site, engine, *ONE_AT_A_TIME)
    limit = {"model": MODEL, "active_decode_blocks_threshold": None}
    with front.http.stream("POST", CHAT, json=body(FIRST, 4000, stream=True)) as first:
        lines = first.iter_lines()  # dropped, it would close the connection
        next(lines)
        assert front.http.post("/busy_threshold", json=limit).status_code == 200
        assert front.http.post(CHAT, json=body("second")).status_code == 200
        limit["active_decode_blocks_threshold"] = 0.0
        assert (
            front.http.post("/busy_threshold", json=limit).json() | limit
            == front.http.post("/busy_threshold", json={"model": MODEL}).json()
        )
        refused = front.http.post(CHAT, json=body("second"))
        assert (refused.status_code, refused.headers["retry-after"]) == (529, "1")
        assert sum(metrics(front.http, "model_rejection_total").values()) == 1
    front.child.stop()
