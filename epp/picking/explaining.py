"""A choice in numbers and words: what /debug/picks, ``epp explain`` and the log show."""

from typing import Any

from epp.core.endpoints import PoolSnapshot, WorkerRank
from epp.core.router import CandidateTerms
from epp.core.tokens import Tokenized
from epp.picking.choice import Choice


def reason_line(choice: Choice, tokens: Tokenized) -> str:
    """One line: why this worker."""
    selection = choice.selection
    resident = f"{selection.cached_tokens} of {selection.prompt_tokens} prompt tokens resident"
    parts = [f"{choice.policy}: {resident}"]
    if selection.best_cached_tokens > selection.cached_tokens:
        parts.append(f"best elsewhere {selection.best_cached_tokens}")
    if selection.prefill is not None:
        parts.append("prefill and decode split")
    parts.append(f"cost {selection.cost:.4g}")
    if tokens.degraded is not None:
        parts.append(f"degraded: {tokens.degraded}")
    return ", ".join(parts)


def summary(choice: Choice, tokens: Tokenized, snapshot: PoolSnapshot) -> dict[str, Any]:
    """The choice with every candidate's terms, JSON-ready."""
    selection = choice.selection
    return {
        "worker": _worker(selection.worker, snapshot),
        "prefill_worker": None if selection.prefill is None else _worker(selection.prefill, snapshot),
        "prompt_tokens": selection.prompt_tokens,
        "cached_tokens": selection.cached_tokens,
        "best_cached_tokens": selection.best_cached_tokens,
        "uncached_tokens": selection.uncached_tokens,
        "block_tokens": selection.block_tokens,
        "cost": selection.cost,
        "predicted_ttft_s": selection.predicted_ttft_s,
        "tokens": tokens.exactness.value,
        "degraded": tokens.degraded,
        "fallbacks": [_worker(worker, snapshot) for worker in choice.fallbacks],
        "candidates": [terms_row(terms, snapshot) for terms in selection.candidates],
        "scores": list(choice.scores),
    }


def terms_row(terms: CandidateTerms, snapshot: PoolSnapshot) -> dict[str, Any]:
    """One candidate's terms, JSON-ready."""
    return {
        **_worker(terms.worker, snapshot),
        "phase": terms.phase.value,
        "cost": terms.cost,
        "cached_tokens": terms.cached_tokens,
        "device_blocks": terms.device_blocks,
        "host_blocks": terms.host_blocks,
        "disk_blocks": terms.disk_blocks,
        "request_blocks": terms.request_blocks,
        "uncached_tokens": terms.uncached_tokens,
        "active_prefill_tokens": terms.active_prefill_tokens,
        "potential_decode_blocks": terms.potential_decode_blocks,
        "active_requests": terms.active_requests,
        "waiting_requests": terms.load.waiting_requests,
        "running_requests": terms.load.running_requests,
        "kv_usage": terms.load.kv_usage,
        "prefill_tokens_per_s": terms.prefill_tokens_per_s,
        "predicted_ttft_s": terms.predicted_ttft_s,
    }


def _worker(worker: WorkerRank, snapshot: PoolSnapshot) -> dict[str, Any]:
    endpoint = snapshot.by_worker.get(worker.worker_id)
    return {
        "name": endpoint.name if endpoint else "",
        "endpoint": endpoint.host_port if endpoint else "",
        "worker_id": worker.worker_id,
        "rank": worker.rank,
    }
