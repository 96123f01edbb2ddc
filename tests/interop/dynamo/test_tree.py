"""The index against Dynamo's ``RadixTree``: the same changes, the same questions.

Where every engine evicts leaves first and names blocks by their content, the answers are equal. Three things
tell them apart, on purpose (docs/decisions/0100-where-we-differ-from-dynamo.md): a block that comes back
in the middle brings its tail back with it, a name belongs to one engine, and copies of a block are counted.
Tests count such differences and hold each between the model of the tree and what is resident; none is passed
over.
"""

import random
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TypeAlias

from epp.core.endpoints import WorkerRank

from .oracle import Oracle
from .routers import Routers, typed
from .streams import Change, Engine, Removed, Space, Stored, TreeModel, World, ranks

Tally: TypeAlias = Callable[[Counter[str]], None]

_SPACES = (Space(), Space(), Space("adapter"), Space(salt="tenant"), Space("adapter", "tenant"))


def _wire(world: World, target: WorkerRank, change: Change) -> list[object]:
    if isinstance(change, Stored):
        parent = None if change.parent is None else world.names[change.parent]
        names = [world.names[node] for node in change.nodes]
        return ["stored", *target, names, parent, [world.local[node] for node in change.nodes]]
    if isinstance(change, Removed):
        return ["removed", *target, [world.names[change.node]]]
    return ["cleared", *target]


class Trial:
    """One stream of changes through everybody."""

    def __init__(self, oracle: Oracle, seed: str, *, holes: float, alone: bool = False) -> None:
        self.rng = random.Random(seed)
        self.world = World.grown(self.rng, 800, _SPACES)
        self.oracle = oracle
        fleet = (1, 1) if alone else (3, 2)
        self.routers = Routers(*fleet)
        self.engines = {rank: Engine(self.world, self.rng, holes=holes) for rank in ranks(*fleet)}
        self.least = {rank: TreeModel(self.world) for rank in self.engines}
        self.counts: Counter[str] = Counter()
        oracle.ask("tree_new")

    def run(self, rounds: int = 6) -> Counter[str]:
        """Let every rank change, then ask; several times. Returns what was seen."""
        for _ in range(rounds):
            self._change(60)
            self._ask(self.rng.choices(range(len(self.world.parents)), k=60))
        return self.counts

    def _change(self, count: int) -> None:
        wire: list[list[object]] = []
        taken: list[bool] = []
        for target, engine in self.engines.items():
            batch = list(engine.changes(count))
            self.routers.apply(target, (typed(self.world, change) for change in batch))
            for change in batch:
                wire.append(_wire(self.world, target, change))
                taken.append(self.least[target].apply(change))
                self.counts["blocks"] += len(change.nodes) if isinstance(change, Stored) else 1
        answers = self.oracle.ask("tree_apply", changes=wire)
        for expected, refusal in zip(taken, answers, strict=True):
            assert refusal is None or not expected, refusal
            self.counts["refused there"] += refusal is not None

    def _ask(self, nodes: Iterable[int]) -> None:
        paths = [self.world.path(node) for node in nodes]
        asked = [[self.world.local[node] for node in path] for path in paths]
        for path, theirs in zip(paths, self.oracle.ask("tree_find", prompts=asked), strict=True):
            found = {WorkerRank(worker, rank): blocks for worker, rank, blocks in theirs}
            ours = self.routers.runs(self.world.prompt(path), self.world.spaces[path[0]])
            for target in self.engines:
                self._compare(path, target, ours[target][0], found.get(target, 0))

    def _compare(self, path: list[int], target: WorkerRank, ours: int, theirs: int) -> None:
        resident = self.engines[target].run(path)[0]
        least = self.least[target].run(path)
        assert ours == resident, (path, target)
        assert least <= theirs <= resident, (path, target)
        if len(self.engines) == 1:
            assert theirs == least, (path, target)
        self.counts["answers"] += 1
        self.counts["with blocks"] += resident > 0
        self.counts["a tail is lost there"] += theirs < ours


def _trials(oracle: Oracle, name: str, count: int, *, holes: float, alone: bool = False) -> Counter[str]:
    total: Counter[str] = Counter()
    for number in range(count):
        total += Trial(oracle, f"{name} {number}", holes=holes, alone=alone).run()
    return total


def test_equal_where_leaves_leave_first(oracle: Oracle, scale: int, tally: Tally) -> None:
    seen = _trials(oracle, "leaves", 3 * scale, holes=0.0)
    tally(seen)
    assert seen["a tail is lost there"] == 0 == seen["refused there"]
    assert seen["with blocks"] > 1000


def test_after_holes_only_tails_behind_them_differ(oracle: Oracle, scale: int, tally: Tally) -> None:
    seen = _trials(oracle, "holes", 3 * scale, holes=0.02)
    tally(seen)
    assert seen["a tail is lost there"] > 0 < seen["refused there"]
    assert seen["with blocks"] > 3 * seen["a tail is lost there"]


def test_alone_on_the_tree_its_answers_are_the_models(oracle: Oracle, scale: int, tally: Tally) -> None:
    seen = _trials(oracle, "alone", 3 * scale, holes=1.0, alone=True)
    tally(seen)
    assert seen["a tail is lost there"] > 0


def test_a_name_belongs_to_one_engine(oracle: Oracle) -> None:
    """Two engines that name equal contents differently, as with different hash seeds. The tree keeps the
    names of the first one: it refuses what the other stores after its own names, and what it removes by
    them."""
    world = World.grown(random.Random(0), 5, forks=0.0)
    other = replace(world, names=tuple(name + 1 for name in world.names))
    first, second = WorkerRank(1, 0), WorkerRank(2, 0)
    changes: list[tuple[World, WorkerRank, Change]] = [
        (world, first, Stored((0, 1, 2, 3), None)),
        (other, second, Stored((0, 1, 2, 3), None)),
        (other, second, Stored((4,), 3)),
    ]
    assert _known(oracle, changes) == ({first: 4, second: 4}, {first: 4, second: 5})
    changes.append((other, second, Removed(1)))
    assert _known(oracle, changes) == ({first: 4, second: 4}, {first: 4, second: 1})


def test_the_first_of_two_copies_takes_a_block_there(oracle: Oracle) -> None:
    """An engine that computed equal content twice announces both copies and evicts one of them."""
    world, target = World.grown(random.Random(0), 3, forks=0.0), WorkerRank(1, 0)
    changes: list[tuple[World, WorkerRank, Change]] = [(world, target, Stored((0, 1, 2), None))] * 2
    nobody = {WorkerRank(2, 0): 0}
    assert _known(oracle, changes) == ({target: 3}, {target: 3, **nobody})
    changes.append((world, target, Removed(2)))
    assert _known(oracle, changes) == ({target: 2}, {target: 3, **nobody})
    changes.append((world, target, Removed(2)))
    assert _known(oracle, changes) == ({target: 2}, {target: 2, **nobody})


def _known(
    oracle: Oracle, changes: list[tuple[World, WorkerRank, Change]]
) -> tuple[dict[WorkerRank, int], dict[WorkerRank, int]]:
    """Blocks of the longest path that the tree and our routers know of, from the start."""
    oracle.ask("tree_new")
    oracle.ask("tree_apply", changes=[_wire(*change) for change in changes])
    routers, world = Routers(workers=2), changes[0][0]
    for named, target, change in changes:
        routers.apply(target, [typed(named, change)])
    path = world.path(len(world.parents) - 1)
    (found,) = oracle.ask("tree_find", prompts=[[world.local[node] for node in path]])
    runs = routers.runs(world.prompt(path), world.spaces[0])
    return {WorkerRank(w, r): blocks for w, r, blocks in found}, {rank: run[0] for rank, run in runs.items()}
