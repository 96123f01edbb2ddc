"""Random event streams of a few engines over one world of prompts, and two models of what they mean.

A *node* is a block of the world with everything before it; a *path* is the chain of nodes from the root to
one of them, that is, a prompt. Engines name a block by its content, alike on all of them, as vLLM does.
"""

import random
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from epp.core.blocks import local_hashes, namespace_seed
from epp.core.endpoints import WorkerRank
from epp.core.router import Tier

BLOCK_TOKENS = 16


class Space(NamedTuple):
    """Prompts of different spaces share nothing."""

    lora: str = ""
    salt: str = ""


PLAIN = Space()


@dataclass(frozen=True, slots=True)
class World:
    """Every block there is: a forest per space."""

    parents: tuple[int | None, ...]
    """Per node."""
    tokens: tuple[bytes, ...]
    spaces: tuple[Space, ...]
    local: tuple[int, ...]
    """Local hashes, as Dynamo computes them too."""
    names: tuple[int, ...]
    """What engines call the block; unlike any hash of it."""

    @classmethod
    def grown(
        cls, rng: random.Random, nodes: int, spaces: Sequence[Space] = (PLAIN,), *, forks: float = 0.1
    ) -> "World":
        """Long branches with forks, as conversations over shared beginnings have."""
        parents: list[int | None] = []
        where: list[Space] = []
        tokens: list[bytes] = []
        siblings: set[tuple[int | None, Space, bytes]] = set()
        for node in range(nodes):
            fork, parent = rng.random(), None
            if node and fork >= forks / 5:
                parent = rng.randrange(node) if fork < forks else node - 1
            space = rng.choice(spaces) if parent is None else where[parent]
            block = _block(rng)
            while (parent, space, block) in siblings:
                block = _block(rng)
            siblings.add((parent, space, block))
            parents.append(parent)
            where.append(space)
            tokens.append(block)
        seeded = zip(tokens, where, strict=True)
        local = [local_hashes(block, BLOCK_TOKENS, namespace_seed(*space))[0] for block, space in seeded]
        names = rng.sample(range(1, 1 << 62), nodes)
        return cls(tuple(parents), tuple(tokens), tuple(where), tuple(local), tuple(names))

    def path(self, node: int) -> list[int]:
        """From the root to ``node``."""
        chain: list[int] = []
        at: int | None = node
        while at is not None:
            chain.append(at)
            at = self.parents[at]
        return chain[::-1]

    def prompt(self, path: Sequence[int]) -> bytes:
        """The tokens of a path."""
        return b"".join(self.tokens[node] for node in path)


def _block(rng: random.Random) -> bytes:
    """Some contents come again at other places: only the chain before them tells such blocks apart."""
    ids = rng.choices(range(150_000), k=BLOCK_TOKENS) if rng.random() < 0.9 else [7] * BLOCK_TOKENS
    return struct.pack(f"<{BLOCK_TOKENS}I", *ids)


@dataclass(frozen=True, slots=True)
class Stored:
    """Consecutive nodes of one path became resident."""

    nodes: tuple[int, ...]
    parent: int | None
    tier: Tier = Tier.DEVICE


@dataclass(frozen=True, slots=True)
class Removed:
    """One node left a tier."""

    node: int
    tier: Tier = Tier.DEVICE


@dataclass(frozen=True, slots=True)
class Cleared:
    """Everything left."""


Change: TypeAlias = Stored | Removed | Cleared


@dataclass(slots=True)
class Engine:
    """The cache of one rank. Blocks of a tree: each tier holds a set of nodes.

    Leaves leave first, as from any engine's prefix cache; ``holes`` is how often any block does, as with
    sliding windows, lost messages and caches of several groups."""

    world: World
    rng: random.Random
    holes: float = 0.0
    offload: bool = False
    """What leaves the device goes to the host, what leaves the host to disk, most of the time."""
    tiers: tuple[set[int], ...] = field(default_factory=lambda: (set(), set(), set()))
    """Nodes on the device, the host and disk."""
    holed: set[int] = field(default_factory=set)
    """Nodes that left the device before something after them did."""

    def changes(self, count: int) -> Iterator[Change]:
        """The next changes, mostly stores."""
        for _ in range(count):
            kind = self.rng.random()
            if kind < 0.6:
                yield from self._store()
            elif kind < 0.995:
                yield from self._evict()
            else:
                for tier in self.tiers:
                    tier.clear()
                yield Cleared()

    def run(self, path: Sequence[int]) -> tuple[int, int, int]:
        """Blocks of the longest resident run: on the device, then also on the host, then on any tier."""
        device, host, disk = self.tiers
        first = _run(path, 0, device)
        second = _run(path, first, device | host)
        return first, second, _run(path, second, device | host | disk)

    def _store(self) -> Iterator[Change]:
        path = self.world.path(self.rng.randrange(len(self.world.parents)))
        device = self.tiers[0]
        begin = _run(path, 0, device)
        nodes: list[int] = []
        for node in path[begin:]:
            if node in device:  # beyond a hole; the engine finds it again by itself
                break
            nodes.append(node)
        if nodes:
            device.update(nodes)
            yield Stored(tuple(nodes), path[begin - 1] if begin else None)

    def _evict(self) -> Iterator[Change]:
        tier = self.rng.choice((0, 0, 1, 2)) if self.offload else 0
        held = self.tiers[tier]
        parents: set[int | None] = (
            set() if self.rng.random() < self.holes else {self.world.parents[node] for node in held}
        )
        leaves = sorted(held - parents)
        for node in self.rng.sample(leaves, min(len(leaves), self.rng.randint(1, 6))):
            if self.offload and tier < 2 and self.rng.random() < 0.7:
                yield from self._move_down(node, tier + 1)
            held.discard(node)
            if not tier and any(self.world.parents[other] == node for other in held):
                self.holed.add(node)
            yield Removed(node, Tier(tier))

    def _move_down(self, node: int, tier: int) -> Iterator[Change]:
        """Unless its parent is nowhere: no index could place it."""
        parent = self.world.parents[node]
        known = parent is None or any(parent in held for held in self.tiers)
        if known and node not in self.tiers[tier]:
            self.tiers[tier].add(node)
            yield Stored((node,), parent, Tier(tier))


def _run(path: Sequence[int], begin: int, held: set[int]) -> int:
    count = begin
    while count < len(path) and path[count] in held:
        count += 1
    return count


@dataclass(slots=True)
class TreeModel:
    """The least that Dynamo's tree knows of one rank: a block that leaves takes everything after it along,
    and what follows an unknown block is refused.

    The tree keeps a tail where a fork of another rank's happens to end an edge between the block that left
    and its tail, so it may know more than this; alone on a tree, a rank gets exactly this.
    """

    world: World
    held: set[int] = field(default_factory=set)

    def apply(self, change: Change) -> bool:
        """Whether the change is taken."""
        if isinstance(change, Cleared):
            self.held.clear()
        elif isinstance(change, Removed):
            if change.node not in self.held:
                return False
            self.held -= {node for node in self.held if change.node in self.world.path(node)}
        elif change.parent is not None and change.parent not in self.held:
            return False
        else:
            self.held.update(change.nodes)
        return True

    def run(self, path: Sequence[int]) -> int:
        """Blocks of the longest run."""
        return _run(path, 0, self.held)


def ranks(workers: int, dp_size: int) -> list[WorkerRank]:
    """All ranks of workers numbered from 1."""
    return [WorkerRank(worker, rank) for worker in range(1, workers + 1) for rank in range(dp_size)]
