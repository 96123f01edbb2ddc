"""A question answered: which candidate for each leg, and what follows for the caller and the ledger."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import floor

from epp.core.endpoints import WorkerRank
from epp.core.kvindex.question import Leg, Question, predicts
from epp.core.ledger import BookingOrder
from epp.core.router import Selection, SelectRequest
from epp.core.scheduling.candidate import Candidate


@dataclass(frozen=True, slots=True)
class Decision:
    """The choices made for one request."""

    request: SelectRequest
    question: Question
    legs: tuple[Leg, ...]
    chosen: tuple[int, ...]
    """Index of the chosen candidate of each leg."""

    @property
    def prefill(self) -> Candidate:
        """Where the prompt is computed."""
        return self.legs[0].candidates[self.chosen[0]]

    @property
    def decode(self) -> Candidate:
        """Where the request goes; unless split, the same."""
        return self.legs[-1].candidates[self.chosen[-1]]

    def order(self, booking: int) -> BookingOrder:
        """The booking this decision makes."""
        request, prefill, decode = self.request, self.prefill, self.decode
        chain = self.question.chain(prefill.block_tokens)
        work_tokens = floor(prefill.work_tokens + 0.5)
        resident = prefill.device_blocks == len(chain)
        return BookingOrder(
            booking=booking,
            now_s=request.now_s,
            lease_s=request.lease_s,
            expected_output_tokens=request.expected_output_tokens,
            prefill=prefill.worker,
            prefill_chain=chain,
            # No event will come of blocks that are there already; a silent worker's are only believed so.
            prefill_at_once=resident if prefill.spec.has_events else work_tokens == 0,
            work_tokens=work_tokens,
            load_tokens=work_tokens if request.params.track_prefill_tokens else 0,
            decode=decode.worker,
            decode_chain=self.question.chain(decode.block_tokens),
            decode_block_tokens=decode.block_tokens,
            share_blocks=request.params.assume_kv_reuse and len(self.legs) == 1,
        )

    def predictions(self) -> Iterator[tuple[WorkerRank, tuple[int, ...]]]:
        """The blocks that workers without events will hold, and nobody will report."""
        for leg, index in zip(self.legs, self.chosen, strict=True):
            candidate = leg.candidates[index]
            if not candidate.spec.has_events:
                yield candidate.worker, self.question.chain(candidate.block_tokens)

    def selection(self, known_block_tokens: int) -> Selection:
        """The answer; ``known_block_tokens`` is the block size of the worker that prefills, 0: unknown."""
        request, prefill, first = self.request, self.prefill, self.legs[0]
        return Selection(
            worker=self.decode.worker,
            prefill=prefill.worker if len(self.legs) > 1 else None,
            prompt_tokens=prefill.prompt_tokens,
            cached_tokens=prefill.cached_tokens,
            best_cached_tokens=max(candidate.cached_tokens for candidate in first.candidates),
            block_tokens=known_block_tokens,
            uncached_tokens=prefill.uncached_tokens,
            cost=first.costs[self.chosen[0]],
            predicted_ttft_s=prefill.queue_s + prefill.own_s if predicts(request) else 0.0,
            candidates=tuple(row for leg in self.legs for row in leg.rows()) if request.explain else (),
        )
