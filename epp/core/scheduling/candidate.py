"""One (worker, rank) as a choice sees it: every number, before any policy weighs them.

Formulas: ``docs/algorithms.md`` section 4.1.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from math import exp, tanh

from epp.core.endpoints import WorkerRank
from epp.core.router import CandidateTerms, CostParams, LoadSample, Phase, WorkerSpec


@dataclass(frozen=True, slots=True)
class Candidate:
    """What is known of one rank with respect to one request."""

    worker: WorkerRank
    spec: WorkerSpec
    block_tokens: int
    """Effective size: known, or the router's default."""
    prompt_tokens: int
    device_blocks: int
    host_blocks: int
    disk_blocks: int
    uncached_tokens: float
    work_tokens: float
    """What the engine will compute; differs from ``uncached_tokens`` when preferences bend that."""
    active_prefill_tokens: int
    active_decode_blocks: int
    potential_decode_blocks: int
    active_requests: int
    resident_blocks: int
    """Of any prompt."""
    learnt_tokens_per_s: float
    """0: not learnt."""
    tokens_per_s: float
    """Learnt, or the fallback."""
    progress_tokens: float
    """Of the prompt at the head of the prefill queue, computed already."""
    load: LoadSample

    @property
    def request_blocks(self) -> int:
        """Blocks of the prompt, the partial tail included."""
        return -(-self.prompt_tokens // self.block_tokens)

    @property
    def cached_tokens(self) -> int:
        """Prompt tokens resident in any tier that the engine will reuse."""
        run_blocks = self.device_blocks + self.host_blocks + self.disk_blocks
        return usable_tokens(self.prompt_tokens, run_blocks, self.block_tokens)

    @property
    def own_s(self) -> float:
        """Seconds this request's prefill will take."""
        return self.work_tokens / self.tokens_per_s

    @property
    def queue_s(self) -> float:
        """Seconds until the prefills booked before it are done."""
        return (self.active_prefill_tokens - self.progress_tokens) / self.tokens_per_s

    def terms(self, phase: Phase, cost: float, *, predict: bool) -> CandidateTerms:
        """The explanation row."""
        predict = predict and phase is not Phase.DECODE
        return CandidateTerms(
            worker=self.worker,
            phase=phase,
            device_blocks=self.device_blocks,
            host_blocks=self.host_blocks,
            disk_blocks=self.disk_blocks,
            request_blocks=self.request_blocks,
            cached_tokens=self.cached_tokens,
            uncached_tokens=self.uncached_tokens,
            active_prefill_tokens=self.active_prefill_tokens,
            potential_decode_blocks=self.potential_decode_blocks,
            active_requests=self.active_requests,
            load=self.load,
            prefill_tokens_per_s=self.learnt_tokens_per_s,
            predicted_ttft_s=self.queue_s + self.own_s if predict else 0.0,
            cost=cost,
        )


def usable_tokens(prompt_tokens: int, run_blocks: int, block_tokens: int) -> int:
    """Tokens of a resident run that an engine reuses: it always computes the last token of a prompt."""
    most = max(0, prompt_tokens - 1) // block_tokens * block_tokens
    return min(run_blocks * block_tokens, most)


def tier_weights(params: CostParams) -> tuple[float, float, float]:
    """Credit per block on device, host and disk; ``overlap_credit`` 0 ignores the whole cache."""
    if params.overlap_credit == 0.0:
        return 0.0, 0.0, 0.0
    return params.overlap_credit, params.host_weight, params.disk_weight


def taint_multiplier(taints: frozenset[str], preferred: Iterable[tuple[str, float]]) -> float:
    """Factor on the cost of a worker for the preferred taints it has: below 1 is liked."""
    total = 0.0
    for taint, weight in preferred:
        if taint in taints:
            total += weight
    return exp(-tanh(total)) if total else 1.0
