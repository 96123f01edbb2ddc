"""The native core alone: choosing, booking, applying events, memory; the Python reference as baseline.

``python -m tests.bench.core`` prints one JSON object per line with ``name``, ``value`` and ``unit``. Figures
of the core come from a C program (``tests/c/bench_core.c``), built here with the release flags: one thread,
its CPU time, warm, medians of several runs. ``*_python_*`` are the same calls through the typed face and
``*_reference_*`` the readable router, both on the wall clock of this process.
"""

import json
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from epp.core.endpoints import WorkerRank
from epp.core.kvindex.native import NativeRouter
from epp.core.kvindex.reference import ReferenceRouter
from epp.core.router import BlocksStored, Router, RouterOptions, SelectRequest, WorkerSpec
from epp.wire import kvevents

_ROOT = Path(__file__).parents[2]
_BUILD = _ROOT / "build" / "bench"
_WORKERS = 64
_BLOCK_TOKENS = 16
_RUNS = 5


def _print(name: str, value: float, unit: str) -> None:
    print(json.dumps({"name": name, "value": value, "unit": unit}), flush=True)


def _run_c() -> None:
    """Build and run the C bench, which prints its own lines."""
    configure = ["cmake", "-S", "cabi", "-B", str(_BUILD), "-DEPP_TESTS=ON", "-DCMAKE_BUILD_TYPE=Release"]
    build = ["cmake", "--build", str(_BUILD), "--target", "bench_core"]
    tools = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    environment = {**os.environ, "PATH": tools}  # the tools that pip installed come first
    for command in (configure, build):
        subprocess.run(command, cwd=_ROOT, env=environment, check=True, stdout=sys.stderr, timeout=300)
    subprocess.run([str(_BUILD / "tests" / "bench_core")], check=True, timeout=300)


def _tokens(count: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(4 * count)


def _fleet(router: Router, prompt: bytes) -> Router:
    """Workers that hold growing parts of the prompt."""
    blocks = len(prompt) // 4 // _BLOCK_TOKENS
    for worker in range(1, _WORKERS + 1):
        router.upsert_worker(WorkerSpec(worker, block_tokens=_BLOCK_TOKENS))
        held = blocks * worker // _WORKERS
        tokens = prompt[: held * _BLOCK_TOKENS * 4]
        event = BlocksStored(tuple(range(1, held + 1)), None, tokens, _BLOCK_TOKENS)
        router.apply(WorkerRank(worker, 0), [event], 0.0)
    return router


def _seconds_per_call(call: Callable[[int], object], calls: int) -> float:
    """Median over runs; the argument counts calls."""
    runs: list[float] = []
    for run in range(_RUNS):
        start = time.perf_counter()
        for number in range(calls):
            call(run * calls + number + 1)
        runs.append((time.perf_counter() - start) / calls)
    return statistics.median(runs)


def _time_router(label: str, router: Router, calls: int) -> None:
    prompt = _tokens(8192)
    _fleet(router, prompt)
    seconds = _seconds_per_call(lambda n: router.select(SelectRequest(prompt, 0.0, n)), calls)
    _print(f"select_8192_tokens_64_workers_{label}_us", seconds * 1e6, "us")
    short = prompt[: 2048 * 4]

    def reserve_and_free(number: int) -> None:
        router.select(SelectRequest(short, 0.0, number, booking=number))
        router.free(number)

    seconds = _seconds_per_call(reserve_and_free, calls)
    _print(f"reserve_free_2048_tokens_{label}_pairs_per_s", 1 / seconds, "1/s")


def _time_apply(label: str, router: Router, batches: int) -> None:
    router.upsert_worker(WorkerSpec(1, block_tokens=_BLOCK_TOKENS))
    blocks = 64
    tokens = [_tokens(blocks * _BLOCK_TOKENS, seed) for seed in range(batches)]

    def apply(number: int) -> None:
        names = tuple(range(number * blocks, (number + 1) * blocks))
        event = BlocksStored(names, None, tokens[number % batches], _BLOCK_TOKENS)
        router.apply(WorkerRank(1, 0), [event], 0.0)

    seconds = _seconds_per_call(apply, batches // _RUNS)
    _print(f"apply_flat_{label}_blocks_per_s", blocks / seconds, "1/s")


def main() -> int:
    """Run everything."""
    _run_c()
    options = RouterOptions()
    _time_router("python", NativeRouter(options), 1000)
    _time_router("reference", ReferenceRouter(options, kvevents.decode), 5)
    _time_apply("python", NativeRouter(options), 500)
    _time_apply("reference", ReferenceRouter(options, kvevents.decode), 50)
    return 0


if __name__ == "__main__":
    sys.exit(main())
