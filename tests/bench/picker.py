"""CPU per request of the picker, a real Envoy in front, beside a bare grpc.aio echo in the same run, and
beside our door with an engine that does nothing.

``python -m tests.bench.picker`` prints one JSON object per line. Every case runs on both servers by turns,
several rounds each; medians are printed. CPU is that of the server process alone, so client, backends and
Envoy, which share the machine, do not count.
"""

import argparse
import asyncio
import contextlib
import json
import random
import statistics
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import uvloop

from epp.testing.backend import EchoBackend
from epp.testing.envoy import EnvoyProcess
from epp.testing.envoy_config import BodyModeName, EnvoyOptions
from epp.testing.load.client import HttpClient
from epp.testing.load.meter import StreamMeter
from epp.testing.process import ChildProcess
from epp.testing.vocab import cached_model_dir
from tests.bench.cpu import cpu_s
from tests.bench.tokenize import prose, vocabulary

_MODEL = "bench"
_BACKENDS = 4
_OK = 200
_DUPLEX = BodyModeName.FULL_DUPLEX_STREAMED


@dataclass(frozen=True, slots=True)
class Case:
    """One shape of traffic."""

    name: str
    body_bytes: int
    shared: float
    """Part of the body that earlier requests had as their beginning."""
    clients: int
    requests: int
    chunks: int = 0
    """Server-sent events of the answer, 5 ms apart; 0: one JSON answer."""
    through: bool = False
    """Response bodies go through the picker, as Istio sends them."""


CASES = (
    Case("1kb", 1_000, 0.0, 16, 1500),
    Case("1kb_1client", 1_000, 0.0, 1, 400),
    Case("16kb_90pct_shared", 16_000, 0.9, 16, 1000),
    Case("220kb_90pct_shared", 220_000, 0.9, 16, 250),
    Case("220kb_cold", 220_000, 0.0, 16, 60),
    Case("430kb_95pct_shared", 430_000, 0.95, 16, 200),
    Case("stream_200_chunks", 1_000, 0.0, 32, 128, chunks=200),
    Case("stream_200_chunks_through", 1_000, 0.0, 32, 128, chunks=200, through=True),
)


class UnreadMeter(StreamMeter):
    """Waits for the end of a response without reading it."""

    def feed(self, data: bytes, now_s: float) -> None:
        """Only framing counts."""
        self.response.feed(data)


@dataclass(frozen=True, slots=True)
class Server:
    """A picker behind its own Envoy."""

    name: str
    pid: int
    client: HttpClient
    """To an Envoy that keeps response bodies to itself."""
    through: HttpClient
    """To one that sends them through the server."""


def bodies(case: Case, rng: random.Random, words: list[str], head: str) -> list[bytes]:
    """As many chat bodies as the case has requests in one round; tails differ in every one."""
    made = []
    for _ in range(case.requests):
        text = head + prose(rng, words, case.body_bytes - len(head) - 150)
        messages = [{"role": "system", "content": "Answer briefly."}, {"role": "user", "content": text}]
        made.append(json.dumps({"model": _MODEL, "messages": messages, "max_tokens": 1}).encode())
    return made


async def drive(server: Server, case: Case, requests: list[bytes]) -> float:
    """Send all; CPU microseconds per request. Raises RuntimeError if any was not answered with 200."""
    queue = iter(requests)
    client = server.through if case.through else server.client
    headers = {"x-events": str(case.chunks), "x-pause-ms": "5"} if case.chunks else {}

    async def one_client() -> None:
        for body in queue:
            meter = UnreadMeter(0.0)
            await client.post(client.request("/v1/chat/completions", body, headers), meter)
            if meter.response.status != _OK:
                raise RuntimeError(f"{server.name}: {meter.response.status}")

    before_s = cpu_s(server.pid)
    async with asyncio.TaskGroup() as group:
        for _ in range(case.clients):
            group.create_task(one_client())
    return (cpu_s(server.pid) - before_s) / len(requests) * 1e6


async def measure(servers: list[Server], case: Case, rounds: int) -> None:
    """Run one case on every server by turns and print the medians."""
    rng = random.Random(case.name)
    words = vocabulary(rng, 4000)
    head = prose(rng, words, int(case.body_bytes * case.shared))
    figures: dict[str, list[float]] = {server.name: [] for server in servers}
    for number in range(rounds + 1):
        made = bodies(case, rng, words, head)
        for server in servers:
            sample = made[: max(20, len(made) // 4)] if number == 0 else made
            used_us = await drive(server, case, sample)
            if number:  # the first round warms caches
                figures[server.name].append(used_us)
    bare_us = statistics.median(figures["bare"])
    picker_us, door_us = statistics.median(figures["picker"]), statistics.median(figures["door"])
    shown = {"cpu": picker_us, "door_cpu": door_us, "bare_cpu": bare_us, "added_cpu": picker_us - bare_us}
    for name, value in shown.items():
        print(json.dumps({"name": f"picker_{case.name}_{name}_us", "value": round(value, 1), "unit": "us",
                          "clients": case.clients, "rounds": rounds,
                          "requests": case.requests}), flush=True)  # fmt: skip


@asynccontextmanager
async def stage(folder: Path, extra: list[str]) -> AsyncIterator[list[Server]]:
    """Backends, both servers, and an Envoy before each."""
    async with contextlib.AsyncExitStack() as stack:
        backends = [await stack.enter_async_context(EchoBackend()) for _ in range(_BACKENDS)]
        endpoints = folder / "endpoints.yaml"
        entries = [f"- {{name: b{i}, address: 127.0.0.1, port: '{b.port}'}}" for i, b in enumerate(backends)]
        endpoints.write_text("endpoints:\n" + "\n".join(entries) + "\n")
        model = cached_model_dir(folder.parent / "epp-bench-models", "qwen")
        picker_argv = [
            *(sys.executable, "-m", "epp", "serve", "--endpoints-file", endpoints, "--model-path", model),
            *("--model-name", _MODEL, "--secure-serving=false", "--scrape-metrics=false", "--grpc-port", "0"),
            *("--grpc-health-port", "0", "--metrics-port", "0", "--log-level", "warning", *extra),
        ]
        addresses = [b.host_port for b in backends]
        door_argv, bare_argv = (
            [sys.executable, "-m", f"tests.bench.{n}", *addresses] for n in ("door", "bare")
        )
        servers = []
        for name, argv in (("picker", picker_argv), ("door", door_argv), ("bare", bare_argv)):
            child = await stack.enter_async_context(ChildProcess(name, argv, folder / f"{name}.log"))
            port = int(child.ready["grpc_port"])
            clients = [await _gateway(stack, port, mode) for mode in (BodyModeName.NONE, _DUPLEX)]
            servers.append(Server(name, child.pid, *clients))
        await asyncio.sleep(3)  # models load, discovery reads: all of it before the first figure
        yield servers


async def _gateway(stack: contextlib.AsyncExitStack, port: int, response_body: BodyModeName) -> HttpClient:
    """An Envoy before the server on ``port``, and a client of it."""
    options = EnvoyOptions(pickers=[port], response_body=response_body)
    envoy = await stack.enter_async_context(EnvoyProcess(options))
    client = HttpClient("127.0.0.1", envoy.port)
    stack.push_async_callback(client.close)
    return client


async def main() -> None:
    """Parse arguments and run the cases."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", help="names of cases, comma separated")
    arguments, extra = parser.parse_known_args()
    wanted = set(arguments.only.split(",")) if arguments.only else {case.name for case in CASES}
    with tempfile.TemporaryDirectory(prefix="epp-bench-") as folder:
        async with stage(Path(folder), extra) as servers:
            for case in CASES:
                if case.name in wanted:
                    await measure(servers, case, arguments.rounds)


if __name__ == "__main__":
    uvloop.run(main())
