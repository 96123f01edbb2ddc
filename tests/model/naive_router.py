"""A model of what a router must know, in dictionaries of sets: slow, hash-free, and easy to believe.

A block is (namespace, every token up to its end). Only aggregated workers of one block size.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

Rank: TypeAlias = tuple[int, int]
Tokens: TypeAlias = tuple[int, ...]
Block: TypeAlias = tuple[str, Tokens]

BS = 2


def blocks_of(namespace: str, tokens: tuple[int, ...]) -> list[Block]:
    return [(namespace, tokens[:end]) for end in range(BS, len(tokens) + 1, BS)]


@dataclass
class Booking:
    rank: Rank
    chain: list[Block]
    load: int
    prefilling: bool
    expires_at: float
    lease: float
    tip: Block | None
    outputs: int = 0


@dataclass
class NaiveRouter:
    capacity: int
    tiers: dict[tuple[Rank, Block], dict[int, int]] = field(default_factory=dict)
    """Copies in each tier."""
    names: dict[tuple[Rank, int], Block] = field(default_factory=dict)
    bookings: dict[int, Booking] = field(default_factory=dict)

    # --- index ---------------------------------------------------------------------------------------

    def store(
        self,
        rank: Rank,
        names: Sequence[int],
        parent: int | None,
        tokens: Tokens,
        tier: int,
        namespace: str,
        now: float,
    ) -> tuple[int, list[str], list[int], list[int]]:
        """(stored, ignored reasons, bookings done, bookings advanced)."""
        if parent is not None and (rank, parent) not in self.names:
            return 0, ["orphan"], [], []
        before = self.names[rank, parent] if parent is not None else (namespace, ())
        stored, ignored, done, advanced = 0, [], [], []
        for index, name in enumerate(names):
            block = (before[0], before[1] + tokens[: BS * (index + 1)])
            previous = (before[0], block[1][:-BS]) if len(block[1]) > BS else None
            reason = self._store_one(rank, name, block, tier)
            stored += reason is None
            ignored += [reason] if reason else []
            more_done, more_advanced = self._seen(rank, block, previous, now)
            done += more_done
            advanced += more_advanced
        return stored, ignored, done, advanced

    def _store_one(self, rank: Rank, name: int, block: Block, tier: int) -> str | None:
        if self.names.get((rank, name), block) != block:
            return "duplicate"
        held = self.tiers.get((rank, block))
        if held is None:
            if len(self.tiers) >= self.capacity:
                return "capacity"
            held = self.tiers[rank, block] = {}
        reason = "duplicate" if tier in held else None
        known = self.names.get((rank, name)) == block
        for key in [key for key, named in self.names.items() if key[0] == rank and named == block]:
            del self.names[key]
        self.names[rank, name] = block
        if not known:
            held |= dict.fromkeys(held, 1)
        copies = held.setdefault(tier, 0)
        if not copies or (known and self._further_copies() < self.capacity):
            held[tier] += 1
        return reason

    def _further_copies(self) -> int:
        return sum(copies - 1 for held in self.tiers.values() for copies in held.values() if copies)

    def remove(self, rank: Rank, name: int, tier: int) -> str:
        block = self.names.get((rank, name))
        if block is None or tier not in self.tiers[rank, block]:
            return "unknown-hash"
        held = self.tiers[rank, block]
        held[tier] -= 1
        if held[tier]:
            return "copy"
        del held[tier]
        if not held:
            del self.tiers[rank, block], self.names[rank, name]
        return "removed"

    def clear(self, rank: Rank) -> int:
        dropped = [key for key in self.tiers if key[0] == rank]
        for key in dropped:
            del self.tiers[key]
        self.names = {key: block for key, block in self.names.items() if key[0] != rank}
        return len(dropped)

    def runs(self, rank: Rank, chain: list[Block]) -> tuple[int, ...]:
        """Cumulative run lengths: device; device or host; any."""
        lengths, at = [], 0
        for accepted in ({0}, {0, 1}, {0, 1, 2, 3}):
            while at < len(chain) and self.tiers.get((rank, chain[at]), {}).keys() & accepted:
                at += 1
            lengths.append(at)
        return tuple(lengths)

    # --- ledger --------------------------------------------------------------------------------------

    def book(
        self, number: int, rank: Rank, namespace: str, tokens: Tokens, uncached: int, now: float, lease: float
    ) -> None:
        chain = blocks_of(namespace, tokens)
        prefilling = self.runs(rank, chain)[0] < len(chain)
        tip = chain[-1] if chain else None
        load = uncached if prefilling else 0
        self.bookings[number] = Booking(rank, chain, load, prefilling, now + lease, lease, tip)

    def _seen(
        self, rank: Rank, block: Block, previous: Block | None, now: float
    ) -> tuple[list[int], list[int]]:
        here = {n: b for n, b in sorted(self.bookings.items()) if b.rank == rank}
        is_prompt = any(block in b.chain for b in here.values())
        done = [n for n, b in here.items() if b.prefilling and b.chain[-1] == block]
        advanced = []
        if previous is not None and not is_prompt:
            advanced = [n for n, b in here.items() if b.tip == previous][:1]
        for number in advanced:
            here[number].tip = block
            here[number].outputs += 1
            if here[number].prefilling:
                done.append(number)
        for number in done:
            self.complete(number)
        for number in (*done, *advanced):
            here[number].expires_at = now + here[number].lease
        return done, advanced

    def complete(self, number: int) -> None:
        self.bookings[number].prefilling = False
        self.bookings[number].load = 0

    def expire(self, now: float) -> tuple[int, ...]:
        ended = sorted(n for n, b in self.bookings.items() if b.expires_at <= now)
        for number in ended:
            del self.bookings[number]
        return tuple(ended)

    def load(self, rank: Rank) -> tuple[int, int, int]:
        """(active requests, prefill tokens, decode blocks)."""
        here = [b for b in self.bookings.values() if b.rank == rank]
        distinct = {block for b in here for block in b.chain}
        return len(here), sum(b.load for b in here), len(distinct) + sum(b.outputs for b in here)
