"""One request put to the router's state: the pools it may use, and every candidate's numbers and costs.

Reads only. Asking changes nothing; choosing and booking are the router's.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from epp.core.blocks import TOKEN_BYTES, namespace_seed, prompt_hashes
from epp.core.endpoints import WorkerRank
from epp.core.kvindex.index import BlockIndex
from epp.core.kvindex.workers import Worker, WorkerTable
from epp.core.ledger import Ledger
from epp.core.ledger_rank import BLOCK_UNITS, RankBook, whole_blocks
from epp.core.router import CandidateTerms, NoChoice, Phase, Policy, SelectRequest
from epp.core.scheduling.candidate import Candidate, taint_multiplier, tier_weights, usable_tokens
from epp.core.scheduling.cost import COSTS
from epp.core.scheduling.eligible import decode_leg, find_pools, splits, without_busy


@dataclass(frozen=True, slots=True)
class RouterState:
    """What a question is put to."""

    workers: WorkerTable
    index: BlockIndex
    ledger: Ledger
    default_block_tokens: int

    def block_tokens(self, worker: Worker) -> int:
        """The effective block size: known, or the default."""
        return worker.block_tokens or self.default_block_tokens


@dataclass(frozen=True, slots=True)
class Leg:
    """One choice to be made: its candidates, ascending, and what each costs."""

    phase: Phase
    request: SelectRequest
    candidates: tuple[Candidate, ...]
    costs: tuple[float, ...]

    def rows(self) -> list[CandidateTerms]:
        """The explanation."""
        predict = predicts(self.request)
        return [
            candidate.terms(self.phase, cost, predict=predict)
            for candidate, cost in zip(self.candidates, self.costs, strict=True)
        ]


def predicts(request: SelectRequest) -> bool:
    """Whether predicted times are wanted."""
    return request.explain or request.policy is Policy.TTFT


class Question:
    """A request, with what is computed once for all candidates."""

    def __init__(self, state: RouterState, request: SelectRequest) -> None:
        self._state = state
        self._request = request
        self._fallback_rate = state.ledger.fallback_rate()
        self._chains: dict[int, tuple[int, ...]] = {}
        self.seed = namespace_seed(request.lora, request.salt)
        self.prompt_tokens = memoryview(request.tokens).nbytes // TOKEN_BYTES

    def chain(self, block_tokens: int) -> tuple[int, ...]:
        """The prompt's full blocks in a block size."""
        chain = self._chains.get(block_tokens)
        if chain is None:
            chain = tuple(prompt_hashes(self._request.tokens, block_tokens, self.seed))
            self._chains[block_tokens] = chain
        return chain

    def legs(self) -> tuple[Leg, ...] | NoChoice:
        """The choices to make, in order, or why there are none."""
        request, state = self._request, self._state
        pools = find_pools(state.workers, request)
        if isinstance(pools, NoChoice):
            return pools
        split = bool(pools.prefill) and splits(request, self.prompt_tokens, self._most_cached(pools.serve))
        serve = self._without_busy(pools.serve)
        prefill = self._without_busy(pools.prefill) if split else ()
        if not serve or (split and not prefill):
            return NoChoice.OVERLOADED
        if not split:
            return (self._leg(serve, Phase.AGGREGATED, request),)
        return (
            self._leg(prefill, Phase.PREFILL, request),
            self._leg(serve, Phase.DECODE, decode_leg(request)),
        )

    def _leg(self, pool: Sequence[WorkerRank], phase: Phase, request: SelectRequest) -> Leg:
        candidates = tuple(self._candidate(rank, request) for rank in pool)
        costs = COSTS[request.policy](candidates, request.params, phase)
        factors = [taint_multiplier(c.spec.taints, request.preferred_taints) for c in candidates]
        return Leg(phase, request, candidates, tuple(c * f for c, f in zip(costs, factors, strict=True)))

    def _candidate(self, rank: WorkerRank, request: SelectRequest) -> Candidate:
        worker, book = self._worker(rank), self._state.ledger.book_of(rank)
        block_tokens = self._state.block_tokens(worker)
        chain = self.chain(block_tokens)
        runs = self._state.index.runs(rank, chain)
        params = request.params
        weights = tier_weights(params)
        reach = runs
        if request.policy is Policy.TTFT:
            reach = self._state.index.runs(rank, chain, book.pending)
        rate = book.rate.tokens_per_s or self._fallback_rate
        return Candidate(
            worker=rank,
            spec=worker.spec,
            block_tokens=block_tokens,
            prompt_tokens=self.prompt_tokens,
            device_blocks=runs.device,
            host_blocks=runs.host - runs.device,
            disk_blocks=runs.disk - runs.host,
            uncached_tokens=self._uncached(runs, block_tokens, weights),
            work_tokens=self._uncached(reach, block_tokens, (1.0, params.host_weight, params.disk_weight)),
            active_prefill_tokens=book.active_prefill_tokens,
            active_decode_blocks=book.active_decode_blocks,
            potential_decode_blocks=self._potential(book, chain, block_tokens, params.assume_kv_reuse),
            active_requests=book.active_requests,
            resident_blocks=self._state.index.resident(rank),
            learnt_tokens_per_s=book.rate.tokens_per_s,
            tokens_per_s=rate,
            progress_tokens=book.progress_tokens(request.now_s, rate),
            load=worker.load(rank.rank),
        )

    def _uncached(
        self, runs: tuple[int, int, int], block_tokens: int, weights: tuple[float, float, float]
    ) -> float:
        """Prompt tokens left to compute when a cached block saves its weight."""
        device, host, disk = runs
        saved = weights[0] * device + weights[1] * (host - device) + weights[2] * (disk - host)
        return max(0.0, self.prompt_tokens - block_tokens * saved)

    def _potential(
        self, book: RankBook, chain: Sequence[int], block_tokens: int, assume_kv_reuse: bool
    ) -> int:
        blocks = -(-self.prompt_tokens // block_tokens)
        if assume_kv_reuse:
            blocks -= book.shared_blocks(chain)
        return whole_blocks(book.units + BLOCK_UNITS * blocks)

    def _most_cached(self, pool: Sequence[WorkerRank]) -> int:
        if not self._request.disagg.min_uncached_tokens:
            return 0  # every number of uncached tokens is enough
        sizes = ((rank, self._state.block_tokens(self._worker(rank))) for rank in pool)
        runs = ((self._state.index.runs(rank, self.chain(size)).disk, size) for rank, size in sizes)
        return max(usable_tokens(self.prompt_tokens, run, size) for run, size in runs)

    def _without_busy(self, pool: Sequence[WorkerRank]) -> tuple[WorkerRank, ...]:
        state = self._state
        return without_busy(pool, self._request.busy, state.workers, state.ledger.book_of)

    def _worker(self, rank: WorkerRank) -> Worker:
        worker = self._state.workers.get(rank.worker_id)
        assert worker is not None, "pools hold known workers only"
        return worker
