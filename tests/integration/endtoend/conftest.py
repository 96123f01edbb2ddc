"""Everything real but the model: pickers and simulated engines as processes, Envoy before them."""

import asyncio
import contextlib
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from epp.testing.envoy import EnvoyProcess
from epp.testing.envoy_config import EnvoyOptions
from epp.testing.process import ChildProcess
from epp.testing.vocab import cached_model_dir

MODEL = "sim"
CHAT = "/v1/chat/completions"
DRAWS = 50
"""After so many even draws between two, nobody has been left out: once in 10**15 runs."""
_DEADLINE_S = 60.0
# Slow enough that a client can leave in the middle of everything, fast enough for a hundred requests.
_SPEEDS = ("--prefill-tokens-per-s", "5000", "--decode-tokens-per-s", "400")
_PORTS = ("--grpc-port", "0", "--grpc-health-port", "0", "--metrics-port", "0")


def prose(words: int, seed: str) -> str:
    """Text nobody else sends: about two tokens a word."""
    return " ".join(f"{seed}{number}" for number in range(words))


def chat(*texts: str, **fields: Any) -> dict[str, Any]:
    """A conversation: user and assistant by turns."""
    roles = ("user", "assistant")
    messages = [{"role": roles[i % 2], "content": text} for i, text in enumerate(texts)]
    return {"model": MODEL, "messages": messages, "max_tokens": 2, **fields}


async def until(true: Callable[[], Awaitable[bool]], what: str, deadline_s: float = _DEADLINE_S) -> None:
    """Poll until a condition holds; fails at the deadline."""
    end_s = time.monotonic() + deadline_s
    while not await true():
        assert time.monotonic() < end_s, f"never: {what}"
        await asyncio.sleep(0.02)


@dataclass
class Picker:
    """A picker process and its pages."""

    process: ChildProcess
    pages: httpx.AsyncClient

    @property
    def grpc_port(self) -> int:
        return int(self.process.ready["grpc_port"])

    @property
    def target(self) -> str:
        return f"127.0.0.1:{self.process.ready['metrics_port']}"

    async def page(self, path: str) -> Any:
        return (await self.pages.get(path)).json()

    async def explain(self, body: dict[str, Any], headers: dict[str, str] | None = None) -> Any:
        answer = await self.pages.post(f"/debug/explain?path={CHAT}", json=body, headers=headers)
        return answer.json()

    async def pick(self, request_id: str) -> Any:
        (found,) = await self.page(f"/debug/picks?request_id={request_id}")
        return found

    async def metrics(self) -> str:
        return (await self.pages.get("/metrics")).text

    async def is_idle(self) -> bool:
        page = await self.page("/debug/workers")
        return page["in_flight"] == 0 and page["index"]["bookings"] == 0

    async def knows(self, body: dict[str, Any], tokens: int = 1, **fields: Any) -> None:
        """Wait until events have told that somebody holds this much of a prompt."""

        async def told() -> bool:
            page = await self.explain(body, **fields)
            return bool(page.get("best_cached_tokens", 0) >= tokens)

        await until(told, "the events of a prompt")

    async def sees(self, ranks: int) -> None:
        """Wait until this many ranks are known and their event streams connected."""

        async def seen() -> bool:
            return f"epp_kv_event_connected_ranks {float(ranks)}\n" in await self.metrics()

        await until(seen, f"{ranks} connected ranks")


@dataclass
class Stage:
    """A folder of processes that ends with its ``async with`` block."""

    folder: Path
    model: Path
    stack: AsyncExitStack = field(default_factory=AsyncExitStack)
    entries: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    """Endpoints-file entries by the name of their engine process."""

    @property
    def endpoints_file(self) -> Path:
        return self.folder / "endpoints.yaml"

    async def engines(self, name: str, count: int, *flags: str) -> ChildProcess:
        """Simulated engines; they join the endpoints file under their process's name."""
        process = ChildProcess(
            name,
            [
                *(sys.executable, "-m", "epp.testing.engine", "--engines", str(count)),
                *("--name-prefix", name, "--model-name", MODEL, "--model-path", self.model),
                *("--endpoints-file", self.folder / f"{name}.yaml", *_SPEEDS, *flags),
            ],
            self.folder / f"{name}.log",
            environment={"TRANSFORMERS_VERBOSITY": "error", "HF_HUB_OFFLINE": "1"},
        )
        await self.stack.enter_async_context(process)
        self.entries[name] = yaml.safe_load((self.folder / f"{name}.yaml").read_text())["endpoints"]
        self.publish()
        return process

    def publish(self) -> None:
        """Write the endpoints file, all at once."""
        text = yaml.safe_dump({"endpoints": [entry for part in self.entries.values() for entry in part]})
        written = self.folder / "endpoints.new"
        written.write_text(text)
        written.rename(self.endpoints_file)

    async def picker(self, name: str, *flags: str | Path) -> Picker:
        """A picker that knows every engine and has its tokenizer."""
        argv = (
            *(sys.executable, "-m", "epp", "serve", "--endpoints-file", self.endpoints_file),
            *("--model-path", self.model, "--model-name", MODEL, "--secure-serving=false"),
            *(
                "--bind-address",
                "127.0.0.1",
                "--endpoints-poll-interval",
                "50ms",
                "--drain-timeout",
                "1s",
                *_PORTS,
                *flags,
            ),
        )
        process = ChildProcess(name, argv, self.folder / f"{name}.log", stop_grace_s=90)
        await self.stack.enter_async_context(process)
        base = f"http://127.0.0.1:{process.ready['metrics_port']}"
        pages = await self.stack.enter_async_context(httpx.AsyncClient(base_url=base, timeout=60))
        picker = Picker(process, pages)
        await until(lambda: _is_ready(picker), "the picker's readiness")
        return picker

    async def gateway(self, pickers: Sequence[Picker], **options: Any) -> httpx.AsyncClient:
        """Envoy, and a client of it."""
        ports = [picker.grpc_port for picker in pickers]
        envoy = await self.stack.enter_async_context(EnvoyProcess(EnvoyOptions(pickers=ports, **options)))
        base = f"http://127.0.0.1:{envoy.port}"
        return await self.stack.enter_async_context(httpx.AsyncClient(base_url=base, timeout=60))


async def _is_ready(picker: Picker) -> bool:
    page = await picker.page("/readyz")
    return bool(page["ready"] and page["parts"]["tokenizer"] == "ok")


@contextlib.asynccontextmanager
async def staged(folder: Path, model: Path) -> AsyncIterator[Stage]:
    """An empty stage."""
    async with AsyncExitStack() as stack:
        yield Stage(folder, model, stack)


@pytest.fixture(scope="session")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return cached_model_dir(tmp_path_factory.mktemp("models"), "tiny")


async def ask(client: httpx.AsyncClient, body: dict[str, Any], request_id: str, **headers: str) -> Any:
    """One request, which must be answered well; the usage the engine states."""
    sent = {"x-request-id": request_id, **{name.replace("_", "-"): value for name, value in headers.items()}}
    answer = await client.post(CHAT, json=body, headers=sent)
    assert answer.status_code == 200, answer.text
    return answer.json()


def cached(answer: Any) -> int:
    """What the engine found in its cache: the truth."""
    return int(answer["usage"]["prompt_tokens_details"]["cached_tokens"])


def usable(pick: Any) -> int:
    """What an engine takes from its cache of the tokens a picker knows to be resident: whole blocks, and
    never the last token, which has to be computed to have something to go on from."""
    return min(int(pick["cached_tokens"]), (int(pick["prompt_tokens"]) - 1) // 16 * 16)


def text_of(answer: Any) -> str:
    return str(answer["choices"][0]["message"]["content"])
