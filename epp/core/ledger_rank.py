"""What is booked on one rank: decode blocks, the prefill queue, and what its events are awaited to say.

Block weights are integers in units of 1/65536 block, so that sums are exact in any order and every
implementation agrees (``docs/algorithms.md`` section 3.1).
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from math import floor, inf

from epp.core.ledger_rate import PrefillRate

BLOCK_UNITS = 1 << 16


def units_of(blocks: float) -> int:
    """A weight in blocks as units, to the nearest."""
    return floor(blocks * BLOCK_UNITS + 0.5)


def whole_blocks(units: int) -> int:
    """Units as blocks, to the nearest, halves up."""
    return (units + BLOCK_UNITS // 2) >> 16


@dataclass(slots=True)
class _Tracked:
    references: int
    units: int


@dataclass(slots=True)
class QueuedPrefill:
    """A prompt waiting to be computed, or being computed."""

    tokens: int
    reserved_at_s: float


@dataclass(slots=True)
class RankBook:
    """The books of one rank. Ids are bookings."""

    units: int = 0
    """Decode load: weights of tracked, unshared and output blocks together."""
    tracked: dict[int, _Tracked] = field(default_factory=dict[int, _Tracked])
    pending: Counter[int] = field(default_factory=Counter[int])
    """Full prompt blocks of unfinished prefills, counted once per booking."""
    queue: dict[int, QueuedPrefill] = field(default_factory=dict[int, QueuedPrefill])
    """Unfinished prefills that carry load, oldest first."""
    unfinished: int = 0
    """Unfinished prefills, with load or without."""
    awaiting: dict[int, set[int]] = field(default_factory=dict[int, set[int]])
    """By the sequence hash whose store ends their prefill."""
    tips: dict[int, set[int]] = field(default_factory=dict[int, set[int]])
    """By the sequence hash of the last block known of their output."""
    active_requests: int = 0
    active_prefill_tokens: int = 0
    last_done_s: float = -inf
    tail_estimate_s: float = -inf
    """When the last queued prefill is estimated to end."""
    rate: PrefillRate = field(default_factory=PrefillRate)

    @property
    def active_decode_blocks(self) -> int:
        """Decode load in blocks."""
        return whole_blocks(self.units)

    def shared_blocks(self, chain: Iterable[int]) -> int:
        """How many of a prompt's full blocks are tracked here already."""
        return sum(sequence in self.tracked for sequence in chain)

    def track(self, chain: Iterable[int]) -> None:
        """A booking's decode leg holds these blocks; one that gains a second holder weighs one again."""
        for sequence in chain:
            block = self.tracked.setdefault(sequence, _Tracked(0, 0))
            block.references += 1
            self._weigh(block, BLOCK_UNITS)

    def untrack(self, chain: Iterable[int]) -> None:
        """The booking that held these blocks ended."""
        for sequence in chain:
            block = self.tracked[sequence]
            block.references -= 1
            if not block.references:
                self.units -= block.units
                del self.tracked[sequence]

    def decay(self, chain: Iterable[int], weight: int) -> None:
        """Set the weight, in units, of those blocks of a booking that nobody shares."""
        for sequence in chain:
            block = self.tracked[sequence]
            if block.references == 1:
                self._weigh(block, weight)

    def progress_tokens(self, now_s: float, tokens_per_s: float) -> float:
        """How much of the prompt at the head of the queue is computed by now, reckoned by time."""
        if not self.queue:
            return 0.0
        head = next(iter(self.queue.values()))
        elapsed_s = max(0.0, now_s - max(head.reserved_at_s, self.last_done_s))
        return min(float(head.tokens), tokens_per_s * elapsed_s)

    def faults(self) -> Iterator[str]:
        """Broken invariants of these books alone, in words."""
        if self.active_prefill_tokens != sum(entry.tokens for entry in self.queue.values()):
            yield "active prefill tokens differ from the queue"
        if self.unfinished < len(self.queue):
            yield "more prefills queued than unfinished"
        if self.units < sum(block.units for block in self.tracked.values()):
            yield "decode load is less than the tracked blocks"

    def _weigh(self, block: _Tracked, units: int) -> None:
        self.units += units - block.units
        block.units = units
