"""Engines as single processes that can be killed, and come back on the port they had."""

import contextlib
import http.client
import json
import signal
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from epp.testing.ports import HeldPort
from tests.integration.frontend.conftest import MODEL, Child, Front, started


@dataclass
class Worker:
    """One engine process on a port of its own."""

    name: str
    folder: Path
    model_dir: Path
    flags: tuple[str, ...] = ()
    role: str = "aggregated"
    engine: str = "vllm"
    place: HeldPort = field(default_factory=HeldPort)
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

    def resume(self) -> None:
        """As if nothing had been."""
        assert self.child is not None
        self.child.process.send_signal(signal.SIGCONT)

    def load(self) -> tuple[int, int]:
        """Requests running and waiting."""
        page = httpx.get(f"{self.url}/metrics", timeout=60).text
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


@contextlib.contextmanager
def asking(front: Front, asked: dict[str, Any]) -> Iterator[None]:
    """A request on a connection of its own that is closed without a look at the answer."""
    port = int(front.url.rpartition(":")[2])
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port)) as connection:
        connection.request(
            "POST", "/v1/chat/completions", json.dumps(asked), {"content-type": "application/json"}
        )
        yield


def metrics(client: httpx.Client, family: str) -> dict[str, float]:
    """Samples of one of the frontend's families, by their label text."""
    lines = client.get("/metrics").text.splitlines()
    pairs = [line.rpartition(" ") for line in lines if line.startswith(f"dynamo_frontend_{family}")]
    return {name.removeprefix("dynamo_frontend_"): float(value) for name, _, value in pairs}


def tokens_known(front: Front) -> bool:
    """Whether the frontend has loaded its model's tokenizer."""
    asked = front.http.post("/v1/route", json={"model": MODEL, "prompt": "x"})
    return bool(asked.json().get("tokens") == "exact")
