"""Parse, tokenize, choose, book and answer, in this process: ``python -m tests.bench.pick``.

The picker's own work per request, without any transport. Prints one JSON object per line; CPU time of all
threads, medians of several rounds. Bodies have the same shapes as in ``tests.bench.picker``. After every pick
the chosen worker stores the prompt's blocks, as its event stream would say; that is not timed.
"""

import argparse
import json
import random
import statistics
import tempfile
import time
from pathlib import Path

import uvloop

from epp.config.model import Config, ModelConfig, RoutingConfig, ScrapeConfig, TokenizeConfig
from epp.core.blocks import prompt_hashes
from epp.core.endpoints import Endpoint, WorkerRank
from epp.core.outcomes import Ending, Picked, PickInput, ResponseFacts
from epp.core.router import BlocksStored
from epp.discovery.memory import MemoryDiscovery
from epp.engine import Engine
from epp.telemetry.logs import configure
from epp.testing.vocab import cached_model_dir
from epp.wire.openai import parse_request
from tests.bench.picker import CASES, Case, bodies
from tests.bench.tokenize import prose, vocabulary

_PATH = "/v1/chat/completions"
_BLOCK_TOKENS = 16
_BLOCK_BYTES = 4 * _BLOCK_TOKENS
_HEADERS = {
    ":method": "POST",
    ":path": "/v1/chat/completions",
    ":authority": "inference.example.com",
    "content-type": "application/json",
    "user-agent": "bench/1",
    "x-request-id": "3d9b5452-e296-47a8-9008-ecf17b559d6d",
    "x-forwarded-proto": "http",
    "accept": "*/*",
}


def _endpoints(count: int) -> list[Endpoint]:
    numbers = range(1, count + 1)
    return [
        Endpoint(name=f"w{n}", address=f"10.0.0.{n}", port=8000, worker_id=n, kv_events="tcp://10.0.0.1:1")
        for n in numbers
    ]


async def _engine(arguments: argparse.Namespace) -> Engine:
    model = cached_model_dir(Path(tempfile.gettempdir()) / "epp-bench-models", "qwen")
    config = Config(
        scrape=ScrapeConfig(enabled=False),
        routing=RoutingConfig(policy=arguments.policy, core=arguments.core),
        tokenize=TokenizeConfig(models=(ModelConfig("bench", str(model)),)),
    )
    _, log = configure("warning", "text")
    engine = Engine(config, log, discovery=MemoryDiscovery(_endpoints(arguments.workers)))
    engine.discovery.subscribe(engine.fleet.replace)  # in place of `start`: no sockets, no background
    await engine.tokenizer.start()
    await engine.tokenizer.tried()
    return engine


async def _round(engine: Engine, case: Case, made: list[bytes]) -> tuple[float, float]:
    """(CPU, wall) microseconds per request."""
    cpu_s = wall_s = 0.0
    for body in made:
        before = time.process_time(), time.perf_counter()
        outcome = await engine.picker.pick(PickInput("POST", _PATH, _HEADERS, body))
        if not isinstance(outcome, Picked):
            raise RuntimeError(f"{case.name}: {outcome}")  # noqa: TRY004 -- a refusal, not a type
        engine.picker.finish(outcome, Ending.COMPLETED, ResponseFacts(status=200))
        cpu_s += time.process_time() - before[0]
        wall_s += time.perf_counter() - before[1]
        await _store(engine, body, outcome)
    return cpu_s / len(made) * 1e6, wall_s / len(made) * 1e6


async def _store(engine: Engine, body: bytes, picked: Picked) -> None:
    """The chosen worker says that it holds the prompt."""
    prompt = parse_request(_PATH, body).prompt
    assert prompt is not None
    tokens = (await engine.tokenizer.tokenize("bench", prompt)).tokens
    whole = tokens[: len(tokens) // _BLOCK_BYTES * _BLOCK_BYTES]
    names = tuple(prompt_hashes(whole, _BLOCK_TOKENS))
    worker = engine.fleet.snapshot.by_host_port[picked.destinations[0]].worker_id
    stored = BlocksStored(names, None, whole, _BLOCK_TOKENS)
    engine.fleet.apply(WorkerRank(worker, 0), [stored], time.monotonic())


async def _measure(engine: Engine, case: Case, rounds: int) -> None:
    rng = random.Random(case.name)
    words = vocabulary(rng, 4000)
    head = prose(rng, words, int(case.body_bytes * case.shared))
    figures = []
    for number in range(rounds + 1):
        figure = await _round(engine, case, bodies(case, rng, words, head))
        if number:  # the first round warms caches
            figures.append(figure)
    for name, values in (("cpu", [f[0] for f in figures]), ("wall", [f[1] for f in figures])):
        value = round(statistics.median(values), 1)
        print(json.dumps({"name": f"pick_{case.name}_{name}_us", "value": value, "unit": "us"}), flush=True)


async def main() -> None:
    """Parse arguments and run the cases."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--core", default="native")
    parser.add_argument("--policy", default="kv")
    parser.add_argument("--only", help="names of cases, comma separated")
    arguments = parser.parse_args()
    wanted = set(arguments.only.split(",")) if arguments.only else {c.name for c in CASES}
    engine = await _engine(arguments)
    for case in CASES:
        if case.name in wanted and case.clients > 1 and not case.chunks:
            await _measure(engine, case, arguments.rounds)
    await engine.stop()


if __name__ == "__main__":
    uvloop.run(main())
