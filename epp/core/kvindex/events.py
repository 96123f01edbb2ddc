"""Applies one batch of an engine's events to the index and counts what it did.

The rules, and the unit each reason is counted in, are in ``docs/algorithms.md`` section 2.2.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import TypeAlias

from epp.core.blocks import TOKEN_BYTES, local_hashes, namespace_seed, sequence_hashes
from epp.core.endpoints import WorkerRank
from epp.core.kvindex.index import BlockIndex, RemoveOutcome, StoreOutcome
from epp.core.ledger import Seen
from epp.core.router import ApplyReport, BlocksCleared, BlocksRemoved, BlocksStored, KvEvent

MAX_BLOCK_TOKENS = 1 << 20
"""Far above any engine's; keeps a hostile size from overflowing arithmetic elsewhere."""

OnStored: TypeAlias = Callable[[int, int | None], None]
"""Told of each stored block: its sequence hash and that of the block before it."""
LearnBlockTokens: TypeAlias = Callable[[int], int]
"""Told a stored event's block size; returns the size the worker is known to have."""


class EventBatch:
    """One batch being applied for one rank."""

    def __init__(
        self, index: BlockIndex, rank: WorkerRank, learn: LearnBlockTokens, on_stored: OnStored
    ) -> None:
        self._index = index
        self._rank = rank
        self._learn = learn
        self._on_stored = on_stored
        self.stored_blocks = 0
        self.removed_blocks = 0
        self.cleared = 0
        self.ignored: Counter[str] = Counter()

    def apply(self, events: Sequence[KvEvent]) -> None:
        """Apply events in order."""
        for event in events:
            match event:
                case BlocksStored():
                    self._store(event)
                case BlocksRemoved():
                    self._remove(event)
                case BlocksCleared():
                    self._index.drop_rank(self._rank)
                    self.cleared += 1

    def report(self, block_tokens: int, told: Sequence[Seen], more: Sequence[tuple[str, int]]) -> ApplyReport:
        """What the batch did: ``told`` by its stored blocks, ``more`` ignored before it came here."""
        advanced = Counter(entry.advanced for entry in told if entry.advanced is not None)
        return ApplyReport(
            stored_blocks=self.stored_blocks,
            removed_blocks=self.removed_blocks,
            cleared=self.cleared,
            ignored=merge_counts(self.ignored, more),
            block_tokens=block_tokens,
            prefill_done=tuple(done for entry in told for done in entry.done),
            decode_blocks=tuple(sorted(advanced.items())),
        )

    def _remove(self, event: BlocksRemoved) -> None:
        for name in event.engine_hashes:
            match self._index.remove(self._rank, name, event.tier):
                case RemoveOutcome.REMOVED:
                    self.removed_blocks += 1
                case RemoveOutcome.UNKNOWN as outcome:
                    self.ignored[outcome.value] += 1
                case RemoveOutcome.COPY:
                    pass

    def _store(self, event: BlocksStored) -> None:
        if not _is_well_formed(event):
            self.ignored["malformed"] += 1
            return
        if not event.engine_hashes:
            return
        if self._learn(event.block_tokens) != event.block_tokens:
            self.ignored["block-size"] += 1
            return
        parent: int | None = None
        if event.parent_engine_hash is None:
            seed = namespace_seed(event.lora, event.salt)
        else:
            found = self._index.named(self._rank, event.parent_engine_hash)
            if found is None:
                self.ignored["orphan"] += 1
                return
            # Engines put a salt on the first block only; descendants live where their parent lives.
            parent, seed = found
        self._store_chain(event, parent, seed)

    def _store_chain(self, event: BlocksStored, parent: int | None, seed: int) -> None:
        local = local_hashes(event.tokens, event.block_tokens, seed, event.mm_hashes)
        previous = parent
        for name, sequence in zip(event.engine_hashes, sequence_hashes(local, parent), strict=True):
            outcome = self._index.store(self._rank, name, (sequence, seed), event.tier)
            if outcome is StoreOutcome.STORED:
                self.stored_blocks += 1
            else:
                self.ignored[outcome.value] += 1
            self._on_stored(sequence, previous)
            previous = sequence


def merge_counts(counts: Counter[str], more: Sequence[tuple[str, int]]) -> tuple[tuple[str, int], ...]:
    """Counts per reason, ordered by reason, without zeros."""
    total = counts.copy()
    for reason, count in more:
        total[reason] += count
    return tuple(sorted((reason, count) for reason, count in total.items() if count))


def _is_well_formed(event: BlocksStored) -> bool:
    count = len(event.engine_hashes)
    return (
        0 < event.block_tokens <= MAX_BLOCK_TOKENS
        and len(event.tokens) == count * event.block_tokens * TOKEN_BYTES
        and len(event.mm_hashes) in (0, count)
    )
