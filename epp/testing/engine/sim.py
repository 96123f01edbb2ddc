"""Continuous batching as arithmetic: no clock, no sockets, ``now_s`` is an argument.

The schedule is vLLM's (``v1/core/sched/scheduler.py``): each step first serves running sequences, one token
per decode and a chunk per unfinished prefill, then admits waiting ones while the token budget, the sequence
limit and free blocks last. If a running sequence finds no block, the one admitted last is preempted.
A step takes ``1 / decode_tokens_per_s + prefill tokens / prefill_tokens_per_s`` seconds.

Blocks become findable when their step is scheduled, as in vLLM, so requests of one step share them; the
events leave when the step ends.
"""

from collections import deque
from dataclasses import dataclass, field

from epp.testing.engine.cache import BlockPool
from epp.testing.engine.config import EngineConfig
from epp.testing.engine.events import CacheEvent
from epp.testing.engine.sequence import GenerationRequest, Sequence

__all__ = ["Emitted", "EngineCounters", "GenerationRequest", "SimEngine", "StepResult"]


@dataclass(frozen=True, slots=True)
class Emitted:
    """One produced token."""

    request_id: str
    token: int
    index: int
    """Position in the answer, from 0."""
    finish_reason: str | None
    """Set with the last token."""
    cached_tokens: int
    """Prompt tokens that came from the local cache."""
    waited_s: float
    """Since the request arrived."""


@dataclass(frozen=True, slots=True)
class StepResult:
    """What one step did."""

    ended_s: float
    duration_s: float
    tokens: tuple[Emitted, ...]
    events: tuple[CacheEvent, ...]


@dataclass(slots=True)
class EngineCounters:
    """Totals since the start, in tokens unless named otherwise."""

    prefix_queries: int = 0
    prefix_hits: int = 0
    external_queries: int = 0
    external_hits: int = 0
    prompt: int = 0
    generated: int = 0
    computed_prompt: int = 0
    """Prompt tokens that cost prefill here."""
    preemptions: int = 0
    """Sequences."""
    finished: dict[str, int] = field(default_factory=dict[str, int])
    """Requests by finish reason."""


@dataclass(frozen=True, slots=True)
class _Step:
    ends_s: float
    duration_s: float
    work: tuple[tuple[Sequence, int], ...]


class SimEngine:
    """One rank. Drive it: ``submit``/``abort`` at any time, ``advance`` at ``next_at_s``."""

    def __init__(self, config: EngineConfig) -> None:
        self.config = config
        self.cache = BlockPool(config.usable_blocks, config.block_tokens)
        self.counters = EngineCounters()
        self._waiting: deque[Sequence] = deque()
        self._running: list[Sequence] = []
        self._step: _Step | None = None

    # --- what the shell reads ------------------------------------------------------------------------

    @property
    def next_at_s(self) -> float | None:
        """When ``advance`` has something to do; None: idle."""
        return self._step.ends_s if self._step else None

    @property
    def running(self) -> int:
        """Sequences being computed."""
        return len(self._running)

    @property
    def waiting(self) -> int:
        """Sequences queued."""
        return len(self._waiting)

    @property
    def kv_usage(self) -> float:
        """Fraction of blocks in use, 0..1."""
        return self.cache.used_blocks / self.cache.blocks

    def adapters(self) -> tuple[frozenset[str], frozenset[str]]:
        """LoRA adapters of the running and of the waiting sequences."""
        running = frozenset(s.request.lora[0] for s in self._running if s.request.lora)
        return running, frozenset(s.request.lora[0] for s in self._waiting if s.request.lora)

    # --- what the shell does -------------------------------------------------------------------------

    def submit(self, request: GenerationRequest, now_s: float) -> None:
        """Queue a request. Raises ValueError if it is empty or could never fit."""
        tokens = len(request.prompt) + len(request.answer)
        if not request.prompt or not request.answer:
            raise ValueError("prompt and answer need at least one token")
        if tokens > self.config.max_model_len:
            raise ValueError(f"{tokens} tokens do not fit max_model_len {self.config.max_model_len}")
        self._waiting.append(Sequence.of(request, now_s))
        if self._step is None:
            self._schedule(now_s)

    def abort(self, request_id: str) -> bool:
        """Drop a request wherever it is; False if it is not here (any more)."""
        for queue in (self._waiting, self._running):
            for sequence in queue:
                if sequence.request.request_id == request_id:
                    queue.remove(sequence)
                    sequence.drop_blocks(self.cache)
                    self._count_finish("abort")
                    return True
        return False

    def advance(self, now_s: float) -> list[StepResult]:
        """Complete every step that has ended by ``now_s``; each begins where the one before it ended, so
        a late call loses no simulated time."""
        results: list[StepResult] = []
        while self._step is not None and self._step.ends_s <= now_s:
            results.append(self._complete(self._step))
        return results

    def reset_prefix_cache(self) -> bool:
        """Empty the cache; False while requests hold blocks. As in vLLM the event leaves with the next
        step, so an idle engine announces it late."""
        return self.cache.clear()

    # --- scheduling ----------------------------------------------------------------------------------

    def _schedule(self, now_s: float) -> None:
        budget = self.config.max_num_batched_tokens
        work, preempted = self._continue_running(budget)
        budget -= sum(count for _, count in work)
        if not preempted:
            work += self._admit(budget)
        if not work:
            self._step = None
            return
        prefill = sum(count for sequence, count in work if sequence.in_prefill)
        duration_s = 1 / self.config.decode_tokens_per_s + prefill / self.config.prefill_tokens_per_s
        self._step = _Step(now_s + duration_s, duration_s, tuple(work))

    def _continue_running(self, budget: int) -> tuple[list[tuple[Sequence, int]], bool]:
        work: list[tuple[Sequence, int]] = []
        preempted = False
        index = 0
        while index < len(self._running) and budget > 0:
            sequence = self._running[index]
            count = min(sequence.remaining, budget)
            while not self._grow(sequence, count):
                preempted = True
                if self._preempt_last() is sequence:
                    return work, preempted
            work.append((sequence, count))
            budget -= count
            index += 1
        return work, preempted

    def _admit(self, budget: int) -> list[tuple[Sequence, int]]:
        work: list[tuple[Sequence, int]] = []
        while self._waiting and budget > 0 and len(self._running) < self.config.max_num_seqs:
            sequence = self._waiting[0]
            if not self._find_prefix(sequence, budget):
                break
            self._waiting.popleft()
            self._running.append(sequence)
            count = min(sequence.remaining, budget)
            self._grow(sequence, count)
            work.append((sequence, count))
            budget -= count
        return work

    def _find_prefix(self, sequence: Sequence, budget: int) -> bool:
        """Reserve what is cached, if there is room for the rest of the first chunk; else change nothing."""
        size = self.config.block_tokens
        findable = (len(sequence.tokens) - 1) // size  # the last token is always computed
        run = self.cache.longest_run(sequence.names(findable, size))
        local = len(run) * size
        remote = sequence.request.remote_tokens if sequence.cached_tokens is None else 0  # handed over once
        computed = max(local, min(remote, len(sequence.tokens) - 1))
        upto = min(computed + budget, len(sequence.tokens))
        if not self.cache.fits(-(-upto // size) - len(run), run):
            return False
        self.cache.reserve(run)
        sequence.blocks, sequence.stored, sequence.computed = run, len(run), computed
        if sequence.cached_tokens is None:
            self._count_admission(sequence, local, computed - local)
        return True

    def _grow(self, sequence: Sequence, count: int) -> bool:
        """Give ``sequence`` the blocks its next ``count`` tokens need and make the full ones findable."""
        upto = sequence.computed + count
        needed = max(0, -(-upto // self.config.block_tokens) - len(sequence.blocks))
        if not self.cache.fits(needed):
            return False
        sequence.blocks += self.cache.take(needed)
        sequence.store_full_blocks(self.cache, upto)
        return True

    def _preempt_last(self) -> Sequence:
        victim = self._running.pop()
        victim.drop_blocks(self.cache)
        self._waiting.appendleft(victim)
        self.counters.preemptions += 1
        return victim

    # --- completion ----------------------------------------------------------------------------------

    def _complete(self, step: _Step) -> StepResult:
        emitted: list[Emitted] = []
        for sequence, count in step.work:
            if not sequence.blocks:
                continue  # aborted while the step ran
            sequence.computed += count
            if not sequence.remaining:
                emitted.append(self._produce(sequence, step.ends_s))
        result = StepResult(step.ends_s, step.duration_s, tuple(emitted), tuple(self.cache.drain_events()))
        self._schedule(step.ends_s)
        return result

    def _produce(self, sequence: Sequence, now_s: float) -> Emitted:
        request, index = sequence.request, sequence.produced
        token = request.answer[index]
        sequence.tokens.append(token)
        if sequence.first_token_s is None:
            sequence.first_token_s = now_s
        self.counters.generated += 1
        last = index + 1 == len(request.answer)
        if last:
            self._finish(sequence)
        return Emitted(
            request_id=request.request_id,
            token=token,
            index=index,
            finish_reason=request.finish_reason if last else None,
            cached_tokens=sequence.cached_tokens or 0,
            waited_s=now_s - sequence.arrived_s,
        )

    def _finish(self, sequence: Sequence) -> None:
        self._running.remove(sequence)
        sequence.drop_blocks(self.cache)
        self._count_finish(sequence.request.finish_reason)

    # --- counting ------------------------------------------------------------------------------------

    def _count_admission(self, sequence: Sequence, local: int, external: int) -> None:
        prompt = len(sequence.request.prompt)
        sequence.cached_tokens, sequence.remote_tokens = local, external
        self.counters.prompt += prompt
        self.counters.prefix_queries += prompt
        self.counters.prefix_hits += local
        if sequence.request.remote_tokens:
            self.counters.external_queries += prompt - local
            self.counters.external_hits += external
        self.counters.computed_prompt += prompt - local - external

    def _count_finish(self, reason: str) -> None:
        self.counters.finished[reason] = self.counters.finished.get(reason, 0) + 1
