"""Words for the tests: prompts, events, workers, and short questions."""

import struct
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from epp.core.endpoints import WorkerRank
from epp.core.router import (
    ApplyReport,
    BlocksStored,
    CandidateTerms,
    KvEvent,
    NoChoice,
    RankLoad,
    Router,
    RouterStats,
    Selection,
    SelectRequest,
    WorkerSpec,
)

BS = 16


def rank(worker_id: int, dp_rank: int = 0) -> WorkerRank:
    return WorkerRank(worker_id, dp_rank)


def flat(token_ids: Iterable[int]) -> bytes:
    """Tokens as a router takes them."""
    values = list(token_ids)
    return struct.pack(f"<{len(values)}I", *values)


def prompt(count: int, first: int = 1) -> bytes:
    """``count`` tokens counting up."""
    return flat(range(first, first + count))


def stored(names: Iterable[int], tokens: bytes, parent: int | None = None, **more: Any) -> BlocksStored:
    more.setdefault("block_tokens", BS)
    return BlocksStored(tuple(names), parent, tokens, **more)


def fleet(router: Router, *worker_ids: int, **more: Any) -> None:
    """Workers with blocks of 16 tokens."""
    more.setdefault("block_tokens", BS)
    for worker_id in worker_ids:
        router.upsert_worker(WorkerSpec(worker_id, **more))


def apply(router: Router, worker_id: int, *events: KvEvent, at: float = 0.0, dp_rank: int = 0) -> ApplyReport:
    return router.apply(rank(worker_id, dp_rank), events, at)


def ask(tokens: bytes, now_s: float = 0.0, seed: int = 0, **more: Any) -> SelectRequest:
    return SelectRequest(tokens, now_s, seed, **more)


def chosen(outcome: Selection | NoChoice) -> Selection:
    assert isinstance(outcome, Selection), outcome
    return outcome


def book(router: Router, tokens: bytes, booking: int, now_s: float = 0.0, **more: Any) -> Selection:
    return chosen(router.select(ask(tokens, now_s, booking=booking, **more)))


def terms(router: Router, tokens: bytes, **more: Any) -> dict[WorkerRank, CandidateTerms]:
    return {row.worker: row for row in router.measure(ask(tokens, **more))}


def runs(router: Router, tokens: bytes, worker_id: int = 1, dp_rank: int = 0, **more: Any) -> tuple[int, ...]:
    """(device, device or host, any tier): cumulative run lengths in blocks."""
    row = terms(router, tokens, **more)[rank(worker_id, dp_rank)]
    host = row.device_blocks + row.host_blocks
    return row.device_blocks, host, host + row.disk_blocks


def load(router: Router, worker_id: int = 1, dp_rank: int = 0) -> RankLoad:
    (found,) = [entry for entry in router.loads() if entry.worker == rank(worker_id, dp_rank)]
    return found


def sizes(router: Router) -> RouterStats:
    """Its statistics, but for the memory: buffers grow by mere use."""
    return replace(router.stats(), memory_bytes=0)
