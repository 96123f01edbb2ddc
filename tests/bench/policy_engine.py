"""The fleet of the policy bench: model servers in simulated time, reduced to what delays a first token.

A server computes prompts one after the other, first come first served, at a rate that nobody tells the
router; running answers slow it down. An answer takes 20 ms a token. Blocks of running requests stay; the
others are a cache that forgets the least recently used, leaves first. A prompt starts when a slot is free
and its blocks fit beside those of running requests; an answer always goes on, beyond the capacity if need
be, where a real server would preempt. Stores and removals are told as events.
"""

import itertools
from collections import Counter, OrderedDict, deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from epp.core.endpoints import WorkerRank
from epp.core.router import BlocksRemoved, BlocksStored, KvEvent, LoadSample
from tests.bench.policy_traces import BLOCK_TOKENS, TRACE_BLOCK_TOKENS, Request, block_tokens

DECODE_S_PER_TOKEN = 0.020
SLOTS = 256
_OUTPUT_NAMES = 1 << 30


@dataclass(slots=True)
class Engine:
    """One model server."""

    worker: WorkerRank
    tokens_per_s: float
    """Of the trace, when nothing else runs."""
    capacity: int
    """Blocks; 0: unbounded."""
    interference: float
    """How much longer a prompt takes for each answer that is running."""
    queue: deque[Request] = field(default_factory=deque)
    computing: Request | None = None
    decoding: dict[int, list[int]] = field(default_factory=dict)
    """Request → its output blocks."""
    cache: OrderedDict[int, int | None] = field(default_factory=OrderedDict)
    """Resident block → the block before it, least recently used first."""
    pinned: Counter[int] = field(default_factory=Counter)
    """How many running requests use a block."""
    hit_blocks: int = 0
    _names: Iterator[int] = field(default_factory=lambda: itertools.count(_OUTPUT_NAMES))

    @property
    def load(self) -> LoadSample:
        """What its metrics page says."""
        used = len(self.pinned) / self.capacity if self.capacity else 0.0
        running = len(self.decoding) + (self.computing is not None)
        return LoadSample(len(self.queue), running, min(1.0, used))

    def start(self) -> float | None:
        """Begin with the head of the queue; returns how long its prompt takes, None if it has to wait."""
        if self.computing is not None or not self.queue or not self._has_room(self.queue[0]):
            return None
        request = self.computing = self.queue.popleft()
        hit = self.cached(request)
        self.hit_blocks += hit
        self.pinned.update(request.blocks)
        tokens = len(request.tokens) // 4 - hit * BLOCK_TOKENS
        slow = 1.0 + self.interference * len(self.decoding)
        return tokens * (TRACE_BLOCK_TOKENS // BLOCK_TOKENS) * slow / self.tokens_per_s

    def computed(self) -> list[KvEvent]:
        """The prompt is done, its answer begins; returns what is published."""
        request, self.computing = self.computing, None
        assert request is not None
        self.decoding[request.number] = []
        run = self.cached(request)
        before = (None, *request.blocks)
        for block, parent in zip(reversed(request.blocks), reversed(before[:-1]), strict=True):
            self.cache[block] = parent  # the root last, so that leaves are forgotten first
            self.cache.move_to_end(block)
        return self._stored(request.blocks[run:], before[run]) + self._evicted()

    def wrote(self, request: Request) -> list[KvEvent]:
        """The answer filled another block; returns what is published."""
        mine = self.decoding[request.number]
        parent = mine[-1] if mine else request.blocks[-1] if request.blocks else None
        block = next(self._names)
        mine.append(block)
        self.cache[block] = parent
        self.pinned[block] += 1
        return self._stored((block,), parent) + self._evicted()

    def finished(self, request: Request) -> None:
        """The answer is complete."""
        mine = self.decoding.pop(request.number)
        for block in (*request.blocks, *mine):
            self.pinned[block] -= 1
            if not self.pinned[block]:
                del self.pinned[block]

    def cached(self, request: Request) -> int:
        """Blocks of the prompt that need not be computed."""
        return sum(1 for _ in itertools.takewhile(self.cache.__contains__, request.blocks))

    def _has_room(self, request: Request) -> bool:
        if len(self.decoding) >= SLOTS:
            return False
        if not self.capacity or not self.decoding:
            return True
        new = sum(1 for block in request.blocks if block not in self.pinned)
        return len(self.pinned) + new <= self.capacity

    def _stored(self, blocks: tuple[int, ...], parent: int | None) -> list[KvEvent]:
        tokens = b"".join(map(block_tokens, blocks))
        return [BlocksStored(blocks, parent, tokens, BLOCK_TOKENS)] if blocks else []

    def _evicted(self) -> list[KvEvent]:
        """Forget the oldest blocks that nobody uses, until the rest fits."""
        excess = len(self.cache) - self.capacity if self.capacity else 0
        if excess <= 0:
            return []
        gone = tuple(itertools.islice((b for b in self.cache if b not in self.pinned), excess))
        for block in gone:
            del self.cache[block]
        return [BlocksRemoved(gone)] if gone else []
