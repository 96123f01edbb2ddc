"""Which rank holds which block, in which tiers, under which engine name.

A block is its sequence hash (``epp.core.blocks``): content and everything before it. Engines name blocks
by hashes of their own; here those are only handles, per rank, for removal and parenthood, so equal content
under different names on two ranks is one block.

Residency is true: every (rank, block) *pair* stands for itself, and a run is read off block by block. A hole
in the middle shortens the run; filling it restores all of it.

Engines announce physical copies: equal content computed twice is stored twice under one name, and removed
once per copy. Copies beyond the first are counted aside, for few blocks have any.

Rules: ``docs/algorithms.md`` section 2.
"""

from collections import Counter
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from epp.core.endpoints import WorkerRank
from epp.core.router import Tier

_DEVICE = 1 << Tier.DEVICE
_DEVICE_OR_HOST = _DEVICE | 1 << Tier.HOST
_ANY_TIER = _DEVICE_OR_HOST | 1 << Tier.DISK | 1 << Tier.EXTERNAL


class Runs(NamedTuple):
    """Lengths in blocks of one rank's resident runs from the root, each at least the one before."""

    device: int
    host: int
    """Device or host."""
    disk: int
    """Any tier."""


class StoreOutcome(Enum):
    """What became of one stored block."""

    STORED = "stored"
    DUPLICATE = "duplicate"
    CAPACITY = "capacity"


class RemoveOutcome(Enum):
    """What became of one removed name."""

    REMOVED = "removed"
    COPY = "copy"
    """One copy went, another still serves."""
    UNKNOWN = "unknown-hash"


@dataclass(slots=True)
class _Pair:
    """One block on one rank: real (a name and tiers) or predicted (neither)."""

    tiers: int = 0
    """Bit per :class:`Tier`."""
    name: int | None = None


@dataclass(slots=True)
class _Block:
    seed: int
    """The namespace it was hashed in, which its descendants share."""
    holders: int = 0


class BlockIndex:
    """Blocks of all ranks, at most ``max_pairs`` (rank, block) pairs."""

    def __init__(self, max_pairs: int) -> None:
        self._max_pairs = max_pairs
        self._pairs: dict[WorkerRank, dict[int, _Pair]] = {}
        self._names: dict[WorkerRank, dict[int, int]] = {}
        self._blocks: dict[int, _Block] = {}
        self._predicted: dict[tuple[WorkerRank, int], float] = {}
        """When each predicted pair expires, seconds."""
        self._pair_count = 0
        self._copies: dict[tuple[WorkerRank, int], Counter[Tier]] = {}
        """Copies beyond the first, of pairs that have any."""
        self._copy_count = 0

    # --- reading -------------------------------------------------------------------------------------

    @property
    def pair_count(self) -> int:
        """(rank, block) pairs, predicted ones included."""
        return self._pair_count

    @property
    def block_count(self) -> int:
        """Distinct blocks."""
        return len(self._blocks)

    @property
    def predicted_count(self) -> int:
        """Pairs that are only predicted."""
        return len(self._predicted)

    def resident(self, rank: WorkerRank) -> int:
        """Pairs of one rank."""
        return len(self._pairs.get(rank, ()))

    def named(self, rank: WorkerRank, name: int) -> tuple[int, int] | None:
        """(sequence hash, namespace seed) of the block the rank's engine calls ``name``."""
        sequence = self._names.get(rank, {}).get(name)
        return None if sequence is None else (sequence, self._blocks[sequence].seed)

    def runs(self, rank: WorkerRank, chain: Sequence[int], pending: Container[int] = frozenset()) -> Runs:
        """The rank's runs along ``chain``; blocks in ``pending`` count as if on the device."""
        pairs = self._pairs.get(rank, {})
        length = 0
        ends: list[int] = []
        for accepted in (_DEVICE, _DEVICE_OR_HOST, _ANY_TIER):
            while length < len(chain) and (
                chain[length] in pending or _tiers(pairs.get(chain[length])) & accepted
            ):
                length += 1
            ends.append(length)
        return Runs(*ends)

    # --- what engines report -------------------------------------------------------------------------

    def store(self, rank: WorkerRank, name: int, block: tuple[int, int], tier: Tier) -> StoreOutcome:
        """The engine stored ``block`` (sequence hash, namespace seed) under ``name`` in ``tier``."""
        sequence, seed = block
        names = self._names.setdefault(rank, {})
        if names.get(name, sequence) != sequence:
            return StoreOutcome.DUPLICATE
        pair = self._pairs.get(rank, {}).get(sequence)
        if pair is None:
            if self._pair_count >= self._max_pairs:
                return StoreOutcome.CAPACITY
            pair = self._add(rank, sequence, seed)
        bit = 1 << tier
        outcome = StoreOutcome.DUPLICATE if pair.tiers & bit else StoreOutcome.STORED
        if pair.name is None:
            self._predicted.pop((rank, sequence), None)
        elif pair.name != name:
            del names[pair.name]
            self._forget_copies(rank, sequence)
        elif outcome is StoreOutcome.DUPLICATE:
            self._add_copy(rank, sequence, tier)
        pair.name, pair.tiers = name, pair.tiers | bit
        names[name] = sequence
        return outcome

    def remove(self, rank: WorkerRank, name: int, tier: Tier) -> RemoveOutcome:
        """One copy of the block called ``name`` left ``tier``."""
        sequence = self._names.get(rank, {}).get(name)
        if sequence is None:
            return RemoveOutcome.UNKNOWN
        pair, bit = self._pairs[rank][sequence], 1 << tier
        if not pair.tiers & bit:
            return RemoveOutcome.UNKNOWN
        if self._take_copy(rank, sequence, tier):
            return RemoveOutcome.COPY
        pair.tiers &= ~bit
        if not pair.tiers:
            self._forget(rank, sequence)
        return RemoveOutcome.REMOVED

    def drop_rank(self, rank: WorkerRank) -> int:
        """Forget every block of a rank; returns how many pairs that were."""
        dropped = list(self._pairs.get(rank, ()))
        for sequence in dropped:
            self._forget(rank, sequence)
        self._pairs.pop(rank, None)
        self._names.pop(rank, None)
        return len(dropped)

    # --- what we predict -----------------------------------------------------------------------------

    def predict(self, rank: WorkerRank, chain: Iterable[int], seed: int, expires_at_s: float) -> None:
        """Believe until ``expires_at_s`` that the rank, which reports nothing, holds ``chain``."""
        for sequence in chain:
            pair = self._pairs.get(rank, {}).get(sequence)
            if pair is None:
                if self._pair_count >= self._max_pairs:
                    continue
                self._add(rank, sequence, seed)
            elif pair.name is not None:
                continue
            self._predicted[rank, sequence] = expires_at_s

    def expire(self, now_s: float) -> None:
        """Forget predicted pairs whose time has come."""
        ended = [key for key, expires_at_s in self._predicted.items() if expires_at_s <= now_s]
        for rank, sequence in ended:
            self._forget(rank, sequence)

    # --- upkeep --------------------------------------------------------------------------------------

    def faults(self) -> Iterator[str]:
        """Every broken invariant, in words."""
        held = sum(len(pairs) for pairs in self._pairs.values())
        if held != self._pair_count or held > self._max_pairs:
            yield f"{held} pairs held, {self._pair_count} counted, {self._max_pairs} allowed"
        if sum(block.holders for block in self._blocks.values()) != held:
            yield "block holder counts do not add up to the pairs"
        yield from self._copy_faults()
        for rank, pairs in self._pairs.items():
            for sequence, pair in pairs.items():
                yield from self._pair_faults(rank, sequence, pair)
        for rank, names in self._names.items():
            for name, sequence in names.items():
                named = self._pairs.get(rank, {}).get(sequence)
                if named is None or named.name != name:
                    yield f"{rank} name {name} does not lead to its block"

    def _pair_faults(self, rank: WorkerRank, sequence: int, pair: _Pair) -> Iterator[str]:
        if sequence not in self._blocks:
            yield f"{rank} holds block {sequence}, which is unknown"
        if (pair.name is None) != ((rank, sequence) in self._predicted):
            yield f"{rank} block {sequence} is neither named nor predicted, or both"
        if (pair.name is None) != (pair.tiers == 0):
            yield f"{rank} block {sequence} has a name without a tier, or a tier without a name"
        if pair.name is not None and self._names[rank].get(pair.name) != sequence:
            yield f"{rank} block {sequence} has a name that leads elsewhere"

    def _copy_faults(self) -> Iterator[str]:
        counted = sum(copies.total() for copies in self._copies.values())
        if counted != self._copy_count or counted > self._max_pairs:
            yield f"{counted} copies held, {self._copy_count} counted, {self._max_pairs} allowed"
        for (rank, sequence), copies in self._copies.items():
            pair = self._pairs.get(rank, {}).get(sequence, _Pair())
            if not copies or any(count < 1 or not pair.tiers >> tier & 1 for tier, count in copies.items()):
                yield f"{rank} block {sequence} has copies that are none"

    def _add_copy(self, rank: WorkerRank, sequence: int, tier: Tier) -> None:
        if self._copy_count < self._max_pairs:
            self._copies.setdefault((rank, sequence), Counter())[tier] += 1
            self._copy_count += 1

    def _take_copy(self, rank: WorkerRank, sequence: int, tier: Tier) -> bool:
        copies = self._copies.get((rank, sequence))
        if not copies or not copies[tier]:
            return False
        copies[tier] -= 1
        self._copy_count -= 1
        if not copies[tier]:
            del copies[tier]
        if not copies:
            del self._copies[rank, sequence]
        return True

    def _forget_copies(self, rank: WorkerRank, sequence: int) -> None:
        copies = self._copies.pop((rank, sequence), None)
        if copies:
            self._copy_count -= copies.total()

    def _add(self, rank: WorkerRank, sequence: int, seed: int) -> _Pair:
        pair = self._pairs.setdefault(rank, {})[sequence] = _Pair()
        self._blocks.setdefault(sequence, _Block(seed)).holders += 1
        self._pair_count += 1
        return pair

    def _forget(self, rank: WorkerRank, sequence: int) -> None:
        pair = self._pairs[rank].pop(sequence)
        self._forget_copies(rank, sequence)
        if pair.name is None:
            del self._predicted[rank, sequence]
        else:
            del self._names[rank][pair.name]
        block = self._blocks[sequence]
        block.holders -= 1
        if not block.holders:
            del self._blocks[sequence]
        self._pair_count -= 1


def _tiers(pair: _Pair | None) -> int:
    if pair is None:
        return 0
    return _DEVICE if pair.name is None else pair.tiers
