"""The index against Dynamo's selection service: the same messages on its sockets and in our routers."""

import random
from collections import Counter
from collections.abc import Callable
from typing import TypeAlias

import pytest

from epp.core.endpoints import WorkerRank

from .oracle import Oracle
from .routers import Routers, payload
from .service import Service
from .streams import Engine, Space, World, ranks

Tally: TypeAlias = Callable[[Counter[str]], None]

_SPACES = (Space(), Space(), Space("adapter"), Space(salt="tenant"), Space("adapter", "tenant"))


def _ids(tokens: bytes) -> list[int]:
    return memoryview(tokens).cast("I").tolist()


class Trial:
    """One stream of messages through everybody."""

    def __init__(self, service: Service, seed: str, *, holes: float = 0.0, offload: bool = False) -> None:
        self.rng = random.Random(seed)
        self.world = World.grown(self.rng, 600, _SPACES)
        self.service = service
        self.routers = Routers(workers=3, dp_size=2)
        self.engines = {
            rank: Engine(self.world, self.rng, holes=holes, offload=offload) for rank in ranks(3, 2)
        }
        self.counts: Counter[str] = Counter()

    def run(self, rounds: int = 5) -> Counter[str]:
        """Let every rank publish, then ask; several times. Returns what was seen."""
        for _ in range(rounds):
            for target, engine in self.engines.items():
                changes = list(engine.changes(60))
                message = payload(self.world, changes, target.rank)
                self.routers.apply_payload(target, message)
                self.service.publish(target, message)
            self.service.settle()
            for node in self.rng.choices(range(len(self.world.parents)), k=60):
                self._ask(self.world.path(node))
        return self.counts

    def _ask(self, path: list[int]) -> None:
        tokens, space = self.world.prompt(path), self.world.spaces[path[0]]
        theirs = self.service.runs(_ids(tokens), space)
        for target, ours in self.routers.runs(tokens, space).items():
            assert ours == self.engines[target].run(path), (path, target)
            self.counts["answers"] += 1
            self.counts["with blocks"] += ours[2] > 0
            self.counts["beyond the device"] += ours[2] > ours[0]
            if theirs[target] != ours:
                self._classify(path, target, theirs[target][0], ours[0])

    def _classify(self, path: list[int], target: WorkerRank, theirs: int, ours: int) -> None:
        assert any(e.holed.intersection(path) for e in self.engines.values()), (path, target, theirs, ours)
        if theirs < ours:
            self.counts["a tail is lost there"] += 1
        else:
            self.counts["a block that left is still there"] += 1


@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize("offload", [False, True], ids=["device", "tiers"])
def test_equal_where_leaves_leave_first(
    oracle: Oracle, scale: int, tally: Tally, threads: int, offload: bool
) -> None:
    seen: Counter[str] = Counter()
    for number in range(scale):
        with Service(oracle, workers=3, dp_size=2, threads=threads) as service:
            seen += Trial(service, f"service {number}", offload=offload).run()
    tally(seen)
    assert seen["with blocks"] > 1000
    assert (seen["beyond the device"] > 0) == offload
    assert not seen["a tail is lost there"] + seen["a block that left is still there"]


@pytest.mark.parametrize("threads", [1, 4])
def test_after_holes_only_paths_through_them_differ(
    oracle: Oracle, scale: int, tally: Tally, threads: int
) -> None:
    """One thread keeps the plain tree; several keep a compressed one, where a hole that one rank makes can
    let another rank seem to hold blocks that it has removed."""
    seen: Counter[str] = Counter()
    for number in range(scale):
        with Service(oracle, workers=3, dp_size=2, threads=threads) as service:
            seen += Trial(service, f"holes {number}", holes=0.02).run()
    tally(seen)
    assert seen["with blocks"] > 3 * seen["a tail is lost there"] > 0
    assert threads > 1 or not seen["a block that left is still there"]
