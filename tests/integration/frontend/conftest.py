"""Frontend processes over simulated engines, for tests that are plain synchronous clients of them."""

import contextlib
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from epp.testing.vocab import cached_model_dir

MODEL = "sim"
_READY_S = 90.0
_CALL_S = 60.0
_SPEEDS = ("--prefill-tokens-per-s", "5000", "--decode-tokens-per-s", "400")


@dataclass
class Child:
    """A process that said it was ready."""

    process: subprocess.Popen[bytes]
    ready: dict[str, Any]
    log: Path

    def stop(self) -> int:
        self.process.terminate()
        try:
            return self.process.wait(60)
        finally:
            self.process.kill()
            self.process.wait()
            assert self.process.stdout is not None
            self.process.stdout.close()


def started(argv: list[str], log: Path) -> Child:
    """Run a program that prints a ready line; fails with its log if it does not in time."""
    with log.open("wb") as stderr:
        process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=stderr)
    watchdog = threading.Timer(_READY_S, process.kill)
    watchdog.start()
    assert process.stdout is not None
    line = process.stdout.readline()
    watchdog.cancel()
    if not line:
        process.stdout.close()
        process.wait()
        raise AssertionError(f"{argv[2]} was not ready:\n{log.read_text()[-4000:]}")
    return Child(process, json.loads(line), log)


def until(true: Callable[[], bool], what: str, deadline_s: float = 60.0) -> None:
    """Poll until a condition holds; fails at the deadline."""
    end_s = time.monotonic() + deadline_s
    while not true():
        assert time.monotonic() < end_s, f"never: {what}"
        time.sleep(0.02)


@dataclass
class Site:
    """A folder of processes."""

    folder: Path
    model_dir: Path
    stack: contextlib.ExitStack
    count: int = 0
    entries: list[dict[str, Any]] = field(default_factory=list)

    def _named(self, name: str) -> Path:
        self.count += 1
        return self.folder / f"{name}-{self.count}"

    def engines(self, count: int, *flags: str) -> list[dict[str, Any]]:
        """Simulated engines' endpoints-file entries."""
        path = self._named("engines")
        argv = [
            *(sys.executable, "-m", "epp.testing.engine", "--engines", str(count), "--model-name", MODEL),
            *("--name-prefix", path.name, "--model-path", str(self.model_dir)),
            *("--endpoints-file", str(path), *_SPEEDS, *flags),
        ]
        child = started(argv, path.with_suffix(".log"))
        self.stack.callback(child.stop)
        found: list[dict[str, Any]] = yaml.safe_load(path.read_text())["endpoints"]
        return found

    def endpoints(self, *entries: dict[str, Any], path: Path | None = None) -> Path:
        """An endpoints file; written in one piece where one is already."""
        path = path or self._named("endpoints").with_suffix(".yaml")
        fresh = path.with_suffix(".new")
        fresh.write_text(yaml.safe_dump({"endpoints": list(entries)}))
        fresh.rename(path)
        return path

    def frontend(self, endpoints: Path, *flags: str) -> "Front":
        """A frontend process."""
        log = self._named("frontend").with_suffix(".log")
        argv = [
            *(sys.executable, "-m", "frontend", "--http-host", "127.0.0.1", "--http-port", "0"),
            *("--endpoints-file", str(endpoints), "--endpoints-poll-interval", "50ms", *flags),
        ]
        child = started(argv, log)
        self.stack.callback(child.stop)
        url = f"http://127.0.0.1:{child.ready['http_port']}"
        return Front(child, url, self.stack.enter_context(httpx.Client(base_url=url, timeout=_CALL_S)))


@dataclass
class Front:
    """A running frontend and a client of it."""

    child: Child
    url: str
    http: httpx.Client

    def serves(self, model: str = MODEL) -> "Front":
        """Wait until a model is ready."""

        def ready() -> bool:
            answer = self.http.get(f"/v1/models/{model}/ready")
            return answer.status_code == 200 and bool(answer.json()["ready"])

        until(ready, f"{model} ready")
        return self

    def listed(self, model: str = MODEL) -> "Front":
        """Wait until a model's worker has told of it."""
        until(
            lambda: any(
                card["id"] == model and card["context_window"]
                for card in self.http.get("/v1/models").json()["data"]
            ),
            f"{model} listed",
        )
        return self


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return cached_model_dir(tmp_path_factory.mktemp("models"), "tiny")


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Iterator[Site]:
    with contextlib.ExitStack() as stack:
        yield Site(tmp_path_factory.mktemp("site"), tiny_model, stack)


@pytest.fixture(scope="session")
def pool(site: Site) -> list[dict[str, Any]]:
    """Two aggregated engines, the second with an adapter."""
    return site.engines(2)


@pytest.fixture(scope="session")
def front(site: Site, pool: list[dict[str, Any]]) -> Front:
    """A discovering frontend over both, with the model's tokenizer."""
    flags = ("--router-mode", "kv", "--model-path", str(site.model_dir), "--model-name", MODEL)
    made = site.frontend(site.endpoints(*pool), *flags).listed().serves()
    question = {"model": MODEL, "prompt": "x"}
    until(
        lambda: made.http.post("/v1/route", json=question).json()["tokens"] == "exact",
        "the model's tokenizer",
    )
    return made


class ScriptedWorker:
    """A model server that says what a test wants: ``answers`` by path are (status, content type, body)."""

    def __init__(self) -> None:
        self.answers: dict[str, tuple[int, str, bytes]] = {
            "/v1/models": (200, "application/json", b'{"object":"list","data":[{"id":"scripted"}]}')
        }
        self.asked: list[tuple[str, dict[str, str], bytes]] = []
        worker = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self._answer(b"")

            def do_POST(self) -> None:
                self._answer(self.rfile.read(int(self.headers.get("content-length", "0"))))

            def _answer(self, body: bytes) -> None:
                headers = {name.lower(): value for name, value in self.headers.items()}
                worker.asked.append((self.path, headers, body))
                status, kind, said = worker.answers.get(self.path, (404, "text/plain", b"?"))
                self.send_response(status)
                self.send_header("content-type", kind)
                self.send_header("content-length", str(len(said)))
                self.end_headers()
                self.wfile.write(said)

            def log_message(self, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def last(self, path: str) -> tuple[dict[str, str], bytes]:
        """Headers and body of the last request to a path."""
        return next((headers, body) for asked, headers, body in reversed(self.asked) if asked == path)

    def entry(self, name: str = "scripted") -> dict[str, Any]:
        port = self._server.server_address[1]
        return {"name": name, "address": "127.0.0.1", "port": str(port), "engine": "vllm"}

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join(5)
        self._server.server_close()


@pytest.fixture(scope="session")
def scripted() -> Iterator[ScriptedWorker]:
    worker = ScriptedWorker()
    yield worker
    worker.close()


@pytest.fixture(scope="session")
def scripted_front(site: Site, scripted: ScriptedWorker) -> Front:
    """A frontend whose only worker is the scripted one."""
    return site.frontend(site.endpoints(scripted.entry())).serves("scripted")
