"""A choice as the gateway hears it: destinations and headers; or a refusal with its status."""

from epp.config.model import RoutingConfig
from epp.core.endpoints import Endpoint, PoolSnapshot, WorkerRank
from epp.core.outcomes import DropReason, HeaderPairs, Refused
from epp.core.router import NoChoice
from epp.core.tokens import Tokenized
from epp.picking.choice import Choice

DEGRADED_HEADER = "x-epp-degraded"
"""Request header that says why a pick went without exact tokens."""

_REFUSALS = {
    NoChoice.NO_WORKERS: (503, "no endpoint is ready to serve this request", DropReason.NO_ENDPOINTS),
    NoChoice.NO_CANDIDATES: (503, "no endpoint is eligible for this request", DropReason.NO_ENDPOINTS),
    NoChoice.OVERLOADED: (429, "every endpoint is busy", DropReason.SATURATED),
    NoChoice.UNKNOWN_PIN: (400, "the worker named by the request is not known", DropReason.BAD_REQUEST),
    NoChoice.RANK_OUT_OF_RANGE: (
        400,
        "the data-parallel rank named by the request is out of range for its worker",
        DropReason.BAD_REQUEST,
    ),
}


def refusal(why: NoChoice, retry_after_s: int) -> Refused:
    """The answer when nobody was chosen."""
    status, message, reason = _REFUSALS[why]
    return Refused(status, message, reason, retry_after(retry_after_s) if status == 429 else ())


def overloaded(message: str, retry_after_s: int) -> Refused:
    """The answer when a bound of the picker itself is reached."""
    return Refused(429, message, DropReason.SATURATED, retry_after(retry_after_s))


def retry_after(seconds: int) -> HeaderPairs:
    """``Retry-After``, unless configured away with 0."""
    return (("retry-after", str(seconds)),) if seconds > 0 else ()


def destinations(choice: Choice, snapshot: PoolSnapshot) -> tuple[str, ...]:
    """``ip:port`` of the choice and its fallbacks; workers that have just left are dropped."""
    known = snapshot.by_worker
    workers = (choice.selection.worker, *choice.fallbacks)
    return tuple([known[id_].host_port for id_, _ in workers if id_ in known])


def request_headers(
    choice: Choice, tokens: Tokenized, snapshot: PoolSnapshot, config: RoutingConfig
) -> HeaderPairs:
    """What the worker, or a frontend beside it, is told of the choice."""
    worker, prefill = choice.selection.worker, choice.selection.prefill
    pairs = [
        ("x-dynamo-worker-instance-id", str(worker.worker_id)),
        ("x-dynamo-dp-rank", str(worker.rank)),
        ("x-dynamo-routing-mode", "aggregated" if prefill is None else "disaggregated"),
    ]
    if snapshot.by_worker[worker.worker_id].dp_size > 1:
        pairs.append(("x-data-parallel-rank", str(worker.rank)))
    if prefill is not None:
        pairs += _prefill_headers(prefill, snapshot.by_worker.get(prefill.worker_id), config)
    if tokens.degraded is not None:
        pairs.append((DEGRADED_HEADER, tokens.degraded))
    return tuple(pairs)


def _prefill_headers(
    prefill: WorkerRank, endpoint: Endpoint | None, config: RoutingConfig
) -> list[tuple[str, str]]:
    pairs = [
        ("x-dynamo-prefill-instance-id", str(prefill.worker_id)),
        ("x-dynamo-prefill-dp-rank", str(prefill.rank)),
    ]
    if config.emit_prefiller_host_port and endpoint is not None:
        pairs.append(("x-prefiller-host-port", endpoint.host_port))
    return pairs
