"""The same work on Dynamo's wheel and on our core, in one run: ``python -m tests.bench.dynamo``.

Runs only where ``EPP_DYNAMO_PYTHON`` names an interpreter with ``ai-dynamo-runtime`` (docs/interop.md).
Prints JSON lines; ``dynamo_…`` beside ``ours_…``, wall clock, medians. Each side is called from Python, the
way a Python program would call it, in a process of its own:

* ``hash``: block hashes of a prompt. Theirs takes a list of ints and gives local hashes; ours takes a flat
  buffer and gives local and sequence hashes.
* ``apply``: stored events of 64 blocks. Theirs is ``RadixTree.apply_event`` of a JSON event with the hashes
  computed already; ours is an engine's msgpack message with token ids, decoded and hashed.
* ``find``: who holds 256 of 512 blocks, 8 of 32 workers do. Theirs is ``RadixTree.find_matches`` of a list
  of hashes; ours is ``select`` of token ids, which hashes them before and chooses after.
* ``select``: hash, look up and choose, nothing booked, 32 workers, empty index (``cold``) or as in ``find``
  (``warm``). Theirs is a coroutine of ``SelectionService``, awaited one at a time; ours is
  ``NativeRouter.select``, which hashes the whole prompt too.
* ``reserve_free``: book a 2048-token prompt and free it again. Theirs with 64 callers under way, which it
  needs; ours one after the other on one thread.
"""

import argparse
import json
import os
import random
import statistics
import struct
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import cabi
from epp.core.endpoints import WorkerRank
from epp.core.kvindex.native import NativeRouter
from epp.core.router import Policy, RouterOptions, SelectRequest, WorkerSpec
from tests.interop.dynamo.oracle import Oracle
from tests.interop.dynamo.routers import payload
from tests.interop.dynamo.service import Service, prompt
from tests.interop.dynamo.streams import BLOCK_TOKENS, Stored, World

PYTHON = "EPP_DYNAMO_PYTHON"
"""Environment variable that names the interpreter."""
_CHILD = Path(__file__).parents[1] / "interop" / "dynamo" / "timing_child.py"
_WORKERS = 32
_HOLDERS = 8
_SIZES = (512, 2048, 8192, 32_768)
_WARM_BLOCKS = 512
_CHAIN_BLOCKS = 64
_RESERVED_TOKENS = 2048
_CALLERS = 64


def _print(what: str, theirs: float, ours: float, unit: str) -> None:
    for name, value in ((f"dynamo_{what}", theirs), (f"ours_{what}", ours)):
        print(json.dumps({"name": name, "value": round(value, 2), "unit": unit}), flush=True)


def _print_us(what: str, theirs_s: Sequence[float], ours_s: Sequence[float]) -> None:
    _print(what, statistics.median(theirs_s) * 1e6, statistics.median(ours_s) * 1e6, "us")


def _timed(calls: Sequence[Callable[[], object]]) -> list[float]:
    taken: list[float] = []
    for call in calls:
        begin_s = time.perf_counter()
        call()
        taken.append(time.perf_counter() - begin_s)
    return taken


def _flat(ids: Sequence[int]) -> bytes:
    return struct.pack(f"<{len(ids)}I", *ids)


def _router() -> NativeRouter:
    router = NativeRouter(RouterOptions())
    for worker in range(1, _WORKERS + 1):
        router.upsert_worker(WorkerSpec(worker, block_tokens=BLOCK_TOKENS))
    return router


class Bench:
    """One run: both sides, and how often."""

    def __init__(self, oracle: Oracle, service: Service, rounds: int) -> None:
        self._oracle = oracle
        self._service = service
        self._rounds = rounds
        self._rng = random.Random("dynamo bench")

    def run(self) -> None:
        """All figures. Nobody holds anything until the warm ones."""
        self._hash()
        router = _router()
        for size in _SIZES:
            self._select(router, f"cold_{size}", [self._ids(size) for _ in range(self._rounds)])
        self._reserve_free(router)
        self._apply()
        self._warm(router)

    def _ids(self, count: int) -> list[int]:
        return self._rng.choices(range(150_000), k=count)

    def _hash(self) -> None:
        ids = self._ids(8192)
        flat, seed = _flat(ids), cabi.namespace_seed()
        theirs_s = self._oracle.ask("time_hash", tokens=ids, block_tokens=BLOCK_TOKENS, rounds=self._rounds)
        ours_s = _timed([lambda: cabi.hash_blocks(flat, BLOCK_TOKENS, seed)] * self._rounds)
        _print_us("hash_8192_tokens_us", theirs_s, ours_s)

    def _select(self, router: NativeRouter, what: str, prompts: list[list[int]]) -> None:
        theirs_s = self._oracle.ask("time_select", requests=[prompt(ids) for ids in prompts])
        asked = [SelectRequest(_flat(ids), 0.0, number, Policy.KV) for number, ids in enumerate(prompts)]
        ours_s = _timed([partial(router.select, request) for request in asked])
        _print_us(f"select_{what}_tokens_{_WORKERS}_workers_us", theirs_s, ours_s)

    def _reserve_free(self, router: NativeRouter) -> None:
        prompts = [self._ids(_RESERVED_TOKENS) for _ in range(20 * self._rounds)]
        requests = [prompt(ids, selection_id=str(number)) for number, ids in enumerate(prompts)]
        theirs_s = self._oracle.ask("time_pairs", requests=requests, clients=_CALLERS)
        asked = [
            SelectRequest(_flat(ids), 0.0, number, Policy.KV, booking=number)
            for number, ids in enumerate(prompts, start=1)
        ]

        def all_pairs() -> None:
            for number, request in enumerate(asked, start=1):
                router.select(request)
                router.free(number)

        (ours_s,) = _timed([all_pairs])
        what = f"reserve_free_{_RESERVED_TOKENS}_tokens_pairs_per_s"
        _print(what, len(prompts) / theirs_s, len(prompts) / ours_s, "1/s")

    def _apply(self) -> None:
        world = World.grown(self._rng, _CHAIN_BLOCKS * 10 * self._rounds, forks=0.0)
        chains: list[list[object]] = []
        messages: list[tuple[WorkerRank, bytes]] = []
        for first in range(0, len(world.parents), _CHAIN_BLOCKS):
            worker, nodes = first // _CHAIN_BLOCKS % _WORKERS + 1, range(first, first + _CHAIN_BLOCKS)
            chains.append([worker, [world.names[n] for n in nodes], [world.local[n] for n in nodes]])
            messages.append((WorkerRank(worker, 0), payload(world, [Stored(tuple(nodes), None)], 0)))
        self._oracle.ask("tree_new")
        theirs_s = self._oracle.ask("time_tree_apply", chains=chains)
        router = _router()
        ours_s = sum(_timed([partial(router.apply_payload, *message, 0.0) for message in messages]))
        _print("apply_blocks_per_s", len(world.parents) / theirs_s, len(world.parents) / ours_s, "1/s")

    def _warm(self, router: NativeRouter) -> None:
        world = World.grown(self._rng, _WARM_BLOCKS, forks=0.0)
        held = range(_WARM_BLOCKS // 2)
        message = payload(world, [Stored(tuple(held), None)], 0)
        stored = [[world.names[n] for n in held], None, [world.local[n] for n in held]]
        self._oracle.ask("tree_new")
        for worker in range(1, _HOLDERS + 1):
            self._oracle.ask("tree_apply", changes=[["stored", worker, 0, *stored]])
            self._service.publish(WorkerRank(worker, 0), message)
            router.apply_payload(WorkerRank(worker, 0), message, 0.0)
        self._service.settle()
        tokens = world.prompt(range(_WARM_BLOCKS))
        theirs_s = self._oracle.ask("time_tree_find", local=world.local, rounds=self._rounds)
        ours_s = _timed([partial(router.select, SelectRequest(tokens, 0.0, 1))] * self._rounds)
        _print_us(f"find_{_WARM_BLOCKS}_blocks_{_WORKERS}_workers_us", theirs_s, ours_s)
        ids = memoryview(tokens).cast("I").tolist()
        self._select(router, f"warm_{len(ids)}", [ids] * self._rounds)


def main() -> int:
    """Parse arguments and run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=100)
    rounds = parser.parse_args().rounds
    python = os.environ.get(PYTHON)
    if not python:
        print(f"{PYTHON} names no interpreter; see docs/interop.md", file=sys.stderr)
        return 2
    with (
        tempfile.TemporaryDirectory() as folder,
        Oracle(python, Path(folder) / "log", script=_CHILD) as oracle,
        Service(oracle, _WORKERS, 1, threads=1) as service,
    ):
        Bench(oracle, service, rounds).run()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
