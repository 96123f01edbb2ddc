"""SIGTERM: what runs ends, nothing begins."""

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.integration.frontend.conftest import MODEL, Front, Site, until
from tests.integration.frontend.tolerance.reading import said
from tests.integration.frontend.tolerance.workers import Worker, working

CHAT = "/v1/chat/completions"


@pytest.fixture(scope="module")
def engine(site: Site, tiny_model: Path) -> Iterator[Worker]:
    worker = Worker("steady", site.folder, tiny_model, ("--decode-tokens-per-s", "50"))
    with working(worker):
        yield worker


def body(tokens: int) -> dict[str, Any]:
    messages = [{"role": "user", "content": "go on"}]
    return {"model": MODEL, "messages": messages, "max_tokens": tokens, "ignore_eos": True, "stream": True}


def connect(front: Front) -> socket.socket:
    return socket.create_connection(("127.0.0.1", int(front.url.rpartition(":")[2])), timeout=60)


def refused(front: Front) -> bool:
    try:
        connect(front).close()
    except ConnectionRefusedError:
        return True
    return False


def test_running_streams_end_and_nothing_begins(site: Site, engine: Worker) -> None:
    front = site.frontend(site.endpoints(engine.entry())).listed().serves()
    with connect(front) as asking:
        asking.sendall(b"GET /health HTTP/1.1\r\n")
        with httpx.stream("POST", front.url + CHAT, json=body(100), timeout=60) as answer:
            pieces = answer.iter_raw()
            first = next(pieces)
            engine.pause()
            front.child.process.terminate()
            until(lambda: refused(front), "the port is closed")
            asking.sendall(b"host: x\r\n\r\n")
            with asking.makefile("rb") as heard:
                health = heard.read()
            engine.resume()
            raw = first + b"".join(pieces)
    assert health.startswith(b"HTTP/1.1 503 ")
    assert b'"status":"not_ready"' in health
    assert b'"stage":"draining"' in health
    assert said(raw) == said(httpx.post(engine.url + CHAT, json=body(100), timeout=60).content)
    assert front.child.process.wait(60) == 0


def test_what_runs_longer_than_the_timeout_is_cut(site: Site, engine: Worker) -> None:
    flags = ("--http-graceful-shutdown-timeout", "300ms", "--migration-limit", "3")
    front = site.frontend(site.endpoints(engine.entry()), *flags).listed().serves()
    with httpx.stream("POST", front.url + CHAT, json=body(4000), timeout=60) as answer:
        pieces = answer.iter_raw()
        next(pieces)
        front.child.process.terminate()
        with pytest.raises(httpx.RemoteProtocolError):
            list(pieces)
    assert front.child.process.wait(60) == 0
    until(lambda: engine.load() == (0, 0), "the engine stopped")
