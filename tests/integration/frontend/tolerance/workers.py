"""Engines as single processes that can be killed, and come back on the port they had."""

import contextlib
import json
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from tests.integration.frontend.conftest import MODEL, Child, Front, started


class Placeholder:
    """A loopback port that stays ours while nobody listens on it.

    Bound and never listening: connections are refused, the kernel gives the port to nobody else, and a
    server that sets SO_REUSEADDR can take it.
    """

    def __init__(self) -> None:
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind(("127.0.0.1", 0))
        self.port = int(self._socket.getsockname()[1])

    def close(self) -> None:
        self._socket.close()


@dataclass
class Worker:
    """One engine process on a port of its own."""

    name: str
    folder: Path
    model_dir: Path
    flags: tuple[str, ...] = ()
    role: str = "aggregated"
    engine: str = "vllm"
    place: Placeholder = field(default_factory=Placeholder)
    child: Child | None = None
    kills: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.place.port}"

    def entry(self) -> dict[str, Any]:
        """Its line in an endpoints file."""
        entry = {"name": self.name, "address": "127.0.0.1", "port": str(self.place.port)}
        return entry | {"engine": self.engine, "role": self.role}

    def start(self) -> None:
        argv = [
            *(sys.executable, "-m", "epp.testing.engine", "--name-prefix", self.name, "--no-kv-events"),
            *("--model-name", MODEL, "--model-path", str(self.model_dir), "--role", self.role),
            *("--engine", self.engine),
            *("--ports", str(self.place.port), *self.flags),
        ]
        self.child = started(argv, self.folder / f"{self.name}-{self.kills}.log")

    def kill(self) -> None:
        """As the kernel kills: every connection breaks at once."""
        child, self.child = self.child, None
        if child is None:
            return
        self.kills += 1
        child.process.kill()
        child.process.wait()
        assert child.process.stdout is not None
        child.process.stdout.close()

    def pause(self) -> None:
        """Connections stay and nothing comes."""
        assert self.child is not None
        self.child.process.send_signal(signal.SIGSTOP)

    def load(self) -> tuple[int, int]:
        """Requests running and waiting."""
        page = httpx.get(f"{self.url}/metrics", timeout=10).text
        return _gauge(page, "vllm:num_requests_running"), _gauge(page, "vllm:num_requests_waiting")


def _gauge(page: str, name: str) -> int:
    lines = [line for line in page.splitlines() if line.startswith(name + "{")]
    return round(sum(float(line.rpartition(" ")[2]) for line in lines))


@contextlib.contextmanager
def working(*workers: Worker) -> Iterator[None]:
    """Start them side by side; kill what runs of them in the end."""
    starts = [threading.Thread(target=worker.start) for worker in workers]
    try:
        for thread in starts:
            thread.start()
        for thread in starts:
            thread.join()
        assert all(worker.child for worker in workers), "an engine did not start"
        yield
    finally:
        for worker in workers:
            worker.kill()
            worker.place.close()


def metrics(http: httpx.Client, family: str) -> dict[str, float]:
    """Samples of one of the frontend's families, by their label text."""
    lines = http.get("/metrics").text.splitlines()
    pairs = [line.rpartition(" ") for line in lines if line.startswith(f"dynamo_frontend_{family}")]
    return {name.removeprefix("dynamo_frontend_"): float(value) for name, _, value in pairs}


def tokens_known(front: Front) -> bool:
    """Whether the frontend has loaded its model's tokenizer."""
    asked = front.http.post("/v1/route", json={"model": MODEL, "prompt": "x"})
    return bool(asked.json().get("tokens") == "exact")


def said(raw: bytes) -> dict[str, Any]:
    """What a client sees of a chat or completion answer, streamed or whole: text, how it ended, counts."""
    if not raw.startswith((b"data:", b":")):
        return _summary([json.loads(raw)], whole=True)
    events = [line[5:].strip() for line in raw.split(b"\n") if line.startswith(b"data:")]
    assert events.count(b"[DONE]") == 1, "one end"
    assert events[-1] == b"[DONE]"
    return _summary([json.loads(event) for event in events[:-1]], whole=False)


def _summary(chunks: list[dict[str, Any]], *, whole: bool) -> dict[str, Any]:
    assert all("choices" in chunk for chunk in chunks), chunks[-1]
    choices = [choice for chunk in chunks for choice in chunk["choices"]]
    part = "message" if whole else "delta"
    texts = [c[part].get("content") if part in c else c["text"] for c in choices]
    usages = [chunk["usage"] for chunk in chunks if chunk.get("usage")]
    roles = [c[part]["role"] for c in choices if part in c and "role" in c[part]]
    names = {(chunk["id"], chunk["object"], chunk["model"], chunk["created"]) for chunk in chunks}
    assert len(names) == 1, "chunks of one answer bear one name"
    return {
        "text": "".join(text or "" for text in texts),
        "finish_reason": [c["finish_reason"] for c in choices if c["finish_reason"] is not None],
        "roles": roles,
        "usage": [{k: u[k] for k in ("prompt_tokens", "completion_tokens", "total_tokens")} for u in usages],
        "token_ids": [token for c in choices for token in c.get("token_ids") or ()],
        "object": chunks[0]["object"],
    }
