"""A pick as a host hears it: numbers and texts, ready to be written out."""

from dataclasses import dataclass

from epp.core.endpoints import PoolSnapshot, WorkerRank
from epp.core.headers import DESTINATION, settable
from epp.core.outcomes import HeaderPairs, Refused
from epp.core.refusal import immediate
from epp.core.tokens import Exactness
from epp.embedding.status import Status, status_of
from epp.picking.picker import Chosen

_NOBODY = WorkerRank(0, 0)
EXACTNESS = {Exactness.NONE: 0, Exactness.ESTIMATED: 1, Exactness.PARTIAL: 2, Exactness.EXACT: 3}
"""``epp_request_exactness``."""


@dataclass(frozen=True, slots=True)
class Answer:
    """``epp_request_result``, field by field, and its status."""

    status: Status
    http_status: int
    reason: str
    set_headers: HeaderPairs = ()
    remove_headers: tuple[str, ...] = ()
    booking: int = 0
    worker: WorkerRank = _NOBODY
    prefill: WorkerRank | None = None
    exactness: int = EXACTNESS[Exactness.NONE]
    prompt_tokens: int = 0
    cached_tokens: int = 0
    predicted_ttft_s: float = 0.0
    destination: str = ""
    prefill_destination: str = ""
    tokens: bytes = b""
    body: bytes = b""
    request_id: str = ""
    degraded: str = ""


def of_refusal(refused: Refused) -> Answer:
    """Nobody serves it; status, headers and body are the response for the client."""
    response = immediate(refused)
    status = status_of(response.status)
    return Answer(status, response.status, refused.message, response.headers, body=response.body)


def of_choice(chosen: Chosen, removed: tuple[str, ...], snapshot: PoolSnapshot) -> Answer:
    """Somebody does; ``removed`` are headers that a client may not decide."""
    picked, selection, tokens = chosen.picked, chosen.choice.selection, chosen.tokens
    prefill = None if selection.prefill is None else snapshot.by_worker.get(selection.prefill.worker_id)
    set_headers = ((DESTINATION, ",".join(picked.destinations)), *settable(picked.set_headers))
    kept = {name for name, _ in set_headers}
    return Answer(
        Status.OK,
        200,
        picked.reason,
        set_headers,
        tuple(name for name in dict.fromkeys((*removed, *picked.remove_headers)) if name not in kept),
        booking=picked.booking or 0,
        worker=selection.worker,
        prefill=selection.prefill,
        exactness=EXACTNESS[tokens.exactness],
        prompt_tokens=tokens.prompt_tokens,
        cached_tokens=selection.cached_tokens,
        predicted_ttft_s=selection.predicted_ttft_s,
        destination=picked.destinations[0] if picked.destinations else "",
        prefill_destination=prefill.host_port if prefill else "",
        tokens=tokens.tokens,
        body=picked.body or b"",
        request_id=picked.request_id,
        degraded=tokens.degraded or "",
    )
