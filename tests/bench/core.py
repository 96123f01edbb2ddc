"""The native core alone: choosing, booking, applying events, memory, threads; from C, Python and Go.

``python -m tests.bench.core`` prints one JSON object per line with ``name``, ``value`` and ``unit``. Figures
of the core come from C programs (``tests/c/bench_*.c``), built here with the release flags: ``bench_core`` on
one thread by its CPU time, ``bench_memory`` in bytes, ``bench_threads`` with two threads on the wall clock.
``*_python_*`` are the same calls through the typed face, ``*_go_*`` through the Go face (left out where
there is no ``go``), ``*_reference_*`` the readable router, all on the wall clock; medians of several runs.
Where ``EPP_DYNAMO_PYTHON`` names an interpreter with Dynamo's wheel, the same work on it follows
(``tests.bench.dynamo``).
"""

import json
import os
import random
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from epp.core.endpoints import WorkerRank
from epp.core.kvindex.native import NativeRouter
from epp.core.kvindex.reference import ReferenceRouter
from epp.core.router import BlocksStored, Router, RouterOptions, SelectRequest, WorkerSpec
from epp.wire import kvevents
from tests.bench import core_go, dynamo

_ROOT = Path(__file__).parents[2]
_BUILD = _ROOT / "build" / "bench"
_PROGRAMS = ("bench_core", "bench_memory", "bench_threads")
_WORKERS = 64
_LENGTHS = (512, 2048, 8192, 32_768)
_FLEETS = (4, 64, 512)
_BLOCK_TOKENS = 16
_EVENT_BLOCKS = 64
_RUNS = 5
_THREADS = 2
_THREADED_CALLS = 3000


def _print(name: str, value: float, unit: str) -> None:
    print(json.dumps({"name": name, "value": float(f"{value:.6g}"), "unit": unit}), flush=True)


def _run_c() -> None:
    """Build and run the C benches, which print their own lines."""
    configure = ["cmake", "-S", "cabi", "-B", str(_BUILD), "-DEPP_TESTS=ON", "-DCMAKE_BUILD_TYPE=Release"]
    build = ["cmake", "--build", str(_BUILD), "--target", *_PROGRAMS]
    tools = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    environment = {**os.environ, "PATH": tools}  # the tools that pip installed come first
    for command in (configure, build):
        subprocess.run(command, cwd=_ROOT, env=environment, check=True, stdout=sys.stderr, timeout=300)
    for program in _PROGRAMS:
        subprocess.run([str(_BUILD / "tests" / program)], check=True, timeout=300)


def _tokens(count: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(4 * count)


def _fleet(router: Router, prompt: bytes, workers: int) -> Router:
    """Workers that hold growing parts of the prompt."""
    blocks = len(prompt) // 4 // _BLOCK_TOKENS
    for worker in range(1, workers + 1):
        router.upsert_worker(WorkerSpec(worker, block_tokens=_BLOCK_TOKENS))
        held = blocks * worker // workers
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


def _time_select(label: str, make: Callable[[], Router], length: int, workers: int, calls: int) -> None:
    prompt = _tokens(length)
    router = _fleet(make(), prompt, workers)
    seconds = _seconds_per_call(lambda n: router.select(SelectRequest(prompt, 0.0, n)), calls)
    _print(f"select_{length}_tokens_{workers}_workers_{label}_us", seconds * 1e6, "us")


def _time_reserve(label: str, make: Callable[[], Router], calls: int) -> None:
    prompt = _tokens(2048)
    router = _fleet(make(), prompt, _WORKERS)

    def reserve_and_free(number: int) -> None:
        router.select(SelectRequest(prompt, 0.0, number, booking=number))
        router.free(number)

    seconds = _seconds_per_call(reserve_and_free, calls)
    _print(f"reserve_free_2048_tokens_{label}_pairs_per_s", 1 / seconds, "1/s")


def _time_apply(label: str, router: Router, batches: int) -> None:
    router.upsert_worker(WorkerSpec(1, block_tokens=_BLOCK_TOKENS))
    tokens = [_tokens(_EVENT_BLOCKS * _BLOCK_TOKENS, seed) for seed in range(batches)]

    def apply(number: int) -> None:
        names = tuple(range(number * _EVENT_BLOCKS, (number + 1) * _EVENT_BLOCKS))
        event = BlocksStored(names, None, tokens[number % batches], _BLOCK_TOKENS)
        router.apply(WorkerRank(1, 0), [event], 0.0)

    seconds = _seconds_per_call(apply, batches // _RUNS)
    _print(f"apply_flat_{label}_blocks_per_s", _EVENT_BLOCKS / seconds, "1/s")


def _message(number: int) -> bytes:
    """An engine's message that stores one chain."""
    event = {
        "type": "BlockStored",
        "block_hashes": list(range(number * _EVENT_BLOCKS, (number + 1) * _EVENT_BLOCKS)),
        "parent_block_hash": None,
        "token_ids": memoryview(_tokens(_EVENT_BLOCKS * _BLOCK_TOKENS, number)).cast("I").tolist(),
        "block_size": _BLOCK_TOKENS,
    }
    return msgspec.msgpack.encode([0.0, [event], 0])


def _time_payload(label: str, router: Router, batches: int) -> None:
    router.upsert_worker(WorkerSpec(1, block_tokens=_BLOCK_TOKENS))
    messages = [_message(number) for number in range(batches + 1)]
    seconds = _seconds_per_call(
        lambda number: router.apply_payload(WorkerRank(1, 0), messages[number], 0.0), batches // _RUNS
    )
    _print(f"apply_msgpack_{label}_blocks_per_s", _EVENT_BLOCKS / seconds, "1/s")


def _threaded_rate(work: Callable[[int], object], threads: int) -> float:
    """Calls per second of so many threads together: the median of several runs."""

    def many(thread: int) -> None:
        for number in range(_THREADED_CALLS):
            work(thread * _THREADED_CALLS + number + 1)

    runs: list[float] = []
    for _ in range(_RUNS):
        crew = [threading.Thread(target=many, args=(thread,)) for thread in range(threads)]
        start = time.perf_counter()
        for member in crew:
            member.start()
        for member in crew:
            member.join()
        runs.append(threads * _THREADED_CALLS / (time.perf_counter() - start))
    return statistics.median(runs)


def _time_threads(length: int) -> None:
    """Threads with long questions run side by side in the core, what is Python around it does not; those with
    short ones take turns."""
    prompt = _tokens(length)
    router = _fleet(NativeRouter(RouterOptions()), prompt, _WORKERS)
    name = f"select_{length}_tokens_{_WORKERS}_workers_python"
    rates: list[float] = []
    for threads in range(1, _THREADS + 1):
        rates.append(_threaded_rate(lambda n: router.select(SelectRequest(prompt, 0.0, n)), threads))
        _print(f"{name}_{threads}_threads_per_s", rates[-1], "1/s")
    _print(f"{name}_scaling_{_THREADS}_threads", rates[-1] / rates[0], "1")


def _run_python() -> None:
    options = RouterOptions()

    def native() -> Router:
        return NativeRouter(options)

    def reference() -> Router:
        return ReferenceRouter(options, kvevents.decode)

    for length in _LENGTHS:
        for workers in _FLEETS:
            _time_select("python", native, length, workers, 300)
    _time_select("reference", reference, 8192, _WORKERS, 5)
    for label, make, calls in (("python", native, 1000), ("reference", reference, 5)):
        _time_reserve(label, make, calls)
    for label, make, batches in (("python", native, 500), ("reference", reference, 50)):
        _time_apply(label, make(), batches)
        _time_payload(label, make(), batches)
    for length in (512, 8192, 32_768):
        _time_threads(length)


def main() -> int:
    """Run everything."""
    _run_c()
    _run_python()
    core_go.main()
    return dynamo.main() if os.environ.get(dynamo.PYTHON) else 0


if __name__ == "__main__":
    sys.exit(main())
