"""Workers that cannot be reached, refuse, fail or hang; clients that are slow."""

import socket
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.integration.frontend.conftest import MODEL, Front, ScriptedWorker, Site, until
from tests.integration.frontend.tolerance.reading import said
from tests.integration.frontend.tolerance.workers import Worker, metrics, working

CHAT = "/v1/chat/completions"
FAST = ("--prefill-tokens-per-s", "1000000", "--decode-tokens-per-s", "20000")
BUSY = b'{"error":{"message":"later","code":503}}'


@pytest.fixture(scope="module")
def good(site: Site, tiny_model: Path) -> Iterator[Worker]:
    worker = Worker("good", site.folder, tiny_model, FAST)
    with working(worker):
        yield worker


def body(text: str = "hello", tokens: int = 5, **more: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": text}]
    return {"model": MODEL, "messages": messages, "max_tokens": tokens, "ignore_eos": True, **more}


def served_by(front: Front, requests: int = 10) -> Counter[str]:
    """Who answered; everybody was answered."""
    answers = [front.http.post(CHAT, json=body()) for _ in range(requests)]
    assert [answer.status_code for answer in answers] == [200] * requests
    return Counter(answer.headers["x-served-by"] for answer in answers)


def retries(front: Front) -> float:
    return sum(metrics(front.http, "worker_retries_total").values())


def test_a_listed_worker_that_does_not_listen(site: Site, tiny_model: Path, good: Worker) -> None:
    """Others take its requests; soon it is not even tried; once it is back it serves again."""
    absent = Worker("absent", site.folder, tiny_model, FAST)
    flags = ("--breaker-failures", "3", "--breaker-open", "1s")
    front = site.frontend(site.endpoints(good.entry(), absent.entry()), *flags).listed()
    try:
        assert served_by(front) == {"good-0": 10}
        assert retries(front) >= 3
        assert list(metrics(front.http, "worker_circuit_open").values()) == [1.0]
        before, began_s = retries(front), time.monotonic()
        served_by(front)
        trials, took_s = retries(front) - before, time.monotonic() - began_s
        assert trials <= took_s + 1, "a trial a second"
        absent.start()
        until(lambda: "absent-0" in served_by(front, 4), "it serves again")
        assert metrics(front.http, "worker_circuit_open") == {}
    finally:
        absent.kill()
        absent.place.close()
        front.child.stop()


@pytest.fixture
def unwell(site: Site) -> Iterator[ScriptedWorker]:
    """Says that it serves the model, and then does not."""
    worker = ScriptedWorker()
    worker.answers["/v1/models"] = (200, "application/json", b'{"data":[{"id":"sim"}]}')
    yield worker
    worker.close()


@pytest.mark.parametrize("status", [503, 529])
def test_a_worker_that_is_busy_is_believed_without_migration(
    site: Site, unwell: ScriptedWorker, status: int
) -> None:
    unwell.answers[CHAT] = (status, "application/json", BUSY)
    front = site.frontend(site.endpoints(unwell.entry())).serves()
    answer = front.http.post(CHAT, json=body())
    assert (answer.status_code, answer.content) == (status, BUSY)
    assert metrics(front.http, "worker_circuit_open") == {}
    front.child.stop()


@pytest.mark.parametrize("status", [500, 503, 529])
@pytest.mark.parametrize("stream", [True, False])
def test_a_worker_that_refuses_or_fails_is_passed_over_with_migration(
    site: Site, good: Worker, unwell: ScriptedWorker, status: int, stream: bool
) -> None:
    unwell.answers[CHAT] = (status, "application/json", BUSY)
    endpoints = site.endpoints(good.entry(), unwell.entry())
    front = site.frontend(endpoints, "--migration-limit", "1").listed().serves()
    asked = body(stream=stream)
    expected = said(httpx.post(good.url + CHAT, json=asked, timeout=60).content)
    for _ in range(8):
        assert said(front.http.post(CHAT, json=asked).content) == expected
    assert sum(path == CHAT for path, _, _ in unwell.asked) >= 3
    front.child.stop()


def test_a_worker_that_hangs_is_left(site: Site, tiny_model: Path, good: Worker) -> None:
    """It accepts connections, and nothing follows."""
    hung = Worker("hung", site.folder, tiny_model, ("--decode-tokens-per-s", "50"))
    with working(hung):
        flags = ("--migration-limit", "3", "--idle-timeout", "4s", "--response-timeout", "4s")
        endpoints = site.endpoints(hung.entry(), good.entry())
        front = site.frontend(endpoints, *flags).listed().serves()
        asked = [body(f"question {n}", 400, stream=True) for n in range(8)]
        with ThreadPoolExecutor(8) as pool:
            answers = [pool.submit(httpx.post, front.url + CHAT, json=one, timeout=60) for one in asked]
            until(lambda: hung.load()[0] >= 2, "it works")
            hung.pause()
            for one, answer in zip(asked, answers, strict=True):
                alone = httpx.post(good.url + CHAT, json=one, timeout=60)
                assert said(answer.result().content) == said(alone.content)
        moved = metrics(front.http, "model_migration_total")
        assert sum(n for name, n in moved.items() if "ongoing_request" in name) >= 2, moved
        front.child.stop()


def test_a_slow_client_holds_up_nobody_and_loses_nothing(site: Site, good: Worker) -> None:
    front = site.frontend(site.endpoints(good.entry()), "--migration-limit", "1").listed().serves()
    asked = body("everything", 12_000, stream=True)
    port = int(front.url.rpartition(":")[2])
    with socket.socket() as slow, slow.makefile("rb") as answer:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.connect(("127.0.0.1", port))
        request = httpx.Request("POST", front.url + CHAT, json=asked)
        head = "".join(f"{name}: {value}\r\n" for name, value in request.headers.items())
        slow.sendall(f"POST {CHAT} HTTP/1.1\r\n{head}connection: close\r\n\r\n".encode() + request.content)
        assert answer.peek(1), "it runs"
        for number in range(20):
            other = body(f"other {number}", 20, stream=True)
            whole = said(httpx.post(good.url + CHAT, json=other, timeout=60).content)
            assert said(front.http.post(CHAT, json=other).content) == whole
        raw = answer.read()
    events = b"".join(line for line in raw.splitlines(keepends=True) if line.startswith(b"data:"))
    assert said(events) == said(httpx.post(good.url + CHAT, json=asked, timeout=60).content)
    front.child.stop()
