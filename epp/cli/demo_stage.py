"""The demo's parts on this machine: simulated engines, the picker, Envoy, on ports the kernel chose."""

import asyncio
import json
import sys
import urllib.request
from collections.abc import AsyncGenerator, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from epp.testing.envoy import EnvoyProcess
from epp.testing.envoy_config import EnvoyOptions
from epp.testing.load.client import HttpClient
from epp.testing.load.http1 import ResponseError
from epp.testing.load.meter import StreamMeter
from epp.testing.process import ChildError, ChildProcess

MODEL = "demo"
ENGINES = 4
_FIRST_ANSWER_S = 20.0
_READY_PAGE_S = 5.0
_RETRY_S = 0.1

# Sizes that make the point without a GPU: what the load repeats fits into the four caches together but not
# into each one, and a cold document costs half a second, far above scheduling noise on two cores.
_ENGINE_FLAGS = (
    "--model-name", MODEL,
    "--block-tokens", "16",
    "--total-blocks", "1300",
    "--max-model-len", "16384",
    "--prefill-tokens-per-s", "8000",
    "--decode-tokens-per-s", "50",
)  # fmt: skip

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Stage:
    """Everything started for one act."""

    picker: ChildProcess
    envoy: EnvoyProcess
    others: tuple[ChildProcess, ...]
    """Engines, and frontends beside them."""

    @property
    def admin(self) -> str:
        """``host:port`` of the picker's metrics and debug pages."""
        return f"127.0.0.1:{self.picker.ready['metrics_port']}"

    async def watched(self, work: Coroutine[Any, Any, _T]) -> _T:
        """The result of ``work``; raises ChildError if another part dies first. A dead Envoy shows as failed
        requests."""
        task = asyncio.ensure_future(work)
        guards = [asyncio.ensure_future(child.failed()) for child in (self.picker, *self.others)]
        try:
            await asyncio.wait((task, *guards), return_when=asyncio.FIRST_COMPLETED)
            for guard in guards:
                if guard.done():
                    guard.result()
            return await task
        finally:
            for pending in (task, *guards):
                await _cancelled(pending)


@asynccontextmanager
async def stage(folder: Path, model_path: Path, policy: str) -> AsyncGenerator[Stage]:
    """Start everything for ``policy`` and wait until a request is answered; files go into the existing
    ``folder``. Raises ChildError, EnvoyError."""
    endpoints = folder / "endpoints.yaml"
    async with (
        engines("engines", folder, model_path, endpoints) as started,
        running(picker(folder, model_path, endpoints, policy), started) as ready,
    ):
        yield ready


@asynccontextmanager
async def running(unstarted: ChildProcess, *others: ChildProcess) -> AsyncGenerator[Stage]:
    """A picker and an Envoy in front of what runs already, once a request is answered through them."""
    async with (
        unstarted as started,
        EnvoyProcess(EnvoyOptions(pickers=[int(started.ready["grpc_port"])])) as envoy,
    ):
        ready = Stage(started, envoy, others)
        await ready.watched(_first_answer(ready))
        yield ready


def engines(
    name: str, folder: Path, model_path: Path, endpoints: Path, *more: str, count: int = ENGINES
) -> ChildProcess:
    """Simulated engines in one process; it writes their endpoints file."""
    flags = ("--engines", str(count), *_ENGINE_FLAGS, *more)
    paths = ("--model-path", model_path, "--endpoints-file", endpoints)
    # without PyTorch, transformers says so at every start; here it only tokenizes
    quiet = {"TRANSFORMERS_VERBOSITY": "error", "HF_HUB_OFFLINE": "1"}
    return python(name, folder, "epp.testing.engine", (*flags, *paths), quiet)


def picker(folder: Path, model_path: Path, endpoints: Path, policy: str) -> ChildProcess:
    """A picker over an endpoints file."""
    flags = (
        "serve",
        "--endpoints-file", endpoints,
        "--model-path", model_path,
        "--model-name", MODEL,
        "--policy", policy,
        "--secure-serving=false",
        "--grpc-port", "0",
        "--grpc-health-port", "0",
        "--metrics-port", "0",
    )  # fmt: skip
    return python("picker", folder, "epp", flags, {})


def python(
    name: str, folder: Path, module: str, flags: Sequence[str | Path], environment: dict[str, str]
) -> ChildProcess:
    """A module of this distribution as a child."""
    argv = (sys.executable, "-m", module, *flags)
    return ChildProcess(name, argv, folder / f"{name}.log", environment=environment)


async def _first_answer(ready: Stage) -> None:
    """Ask until every part of the picker is ready and one request went all the way."""
    problem = "nothing was tried"
    with suppress(TimeoutError):
        async with asyncio.timeout(_FIRST_ANSWER_S):
            while problem:
                problem = await _unready(ready) or await _ask(ready.envoy.port)
                if problem:
                    await asyncio.sleep(_RETRY_S)
    if problem:
        raise ready.picker.failure(f"let no request through within {_FIRST_ANSWER_S:g} s ({problem})")


async def _unready(on: Stage) -> str:
    """Which parts of the picker are not ready, in its words; empty: none. A tokenizer still loading would
    degrade the first picks and count its start-up as CPU of requests."""
    try:
        facts = json.loads(await asyncio.to_thread(read, f"http://{on.admin}/readyz"))
    except (OSError, ValueError) as error:
        return f"/readyz: {error}"
    return ", ".join(f"{part}: {state}" for part, state in facts["parts"].items() if state != "ok")


def read(url: str) -> bytes:
    """A page of a process started here. Raises OSError."""
    with urllib.request.urlopen(url, timeout=_READY_PAGE_S) as page:  # noqa: S310 -- a process just started
        content: bytes = page.read()
    return content


async def _ask(port: int) -> str:
    client = HttpClient("127.0.0.1", port)
    meter = StreamMeter(0.0)
    messages = [{"role": "user", "content": "Are you there?"}]
    body = json.dumps({"model": MODEL, "messages": messages, "max_tokens": 1, "stream": True})
    try:
        await client.post(client.request("/v1/chat/completions", body.encode()), meter)
    except (OSError, ResponseError) as error:
        return str(error) or type(error).__name__
    finally:
        await client.close()
    return meter.error()


async def _cancelled(task: "asyncio.Future[Any]") -> None:
    task.cancel()
    with suppress(asyncio.CancelledError, ChildError):
        await task
