"""Query-only: who would serve a request, and as which tokens. Nothing is booked and nothing runs."""

import time
from typing import Any, Final

import msgspec

from epp.core.requests import Api
from epp.picking.explaining import summary
from epp.picking.picker import Chosen
from epp.wire.tokens import token_ids
from frontend.http.api import Reply, whole
from frontend.pipeline.call import Call, Leg, Route, Segment
from frontend.pipeline.components import Components
from frontend.routing.discover import DiscoverRouter
from frontend.sse import DONE, event

ANNOTATION: Final = "query_instance_id:"
"""``nvext.annotations`` entry that asks for this; what follows the colon means nothing."""
_JSON: Final = (("content-type", "application/json"),)
_SSE: Final = (("content-type", "text/event-stream; charset=utf-8"), ("cache-control", "no-cache"))


class QueryOnly:
    """Answers questions itself and hands everything else on."""

    name = "query-only"

    def __init__(self, next_: Segment | None, router: DiscoverRouter, components: Components) -> None:
        """``next_``: None where every request is a question."""
        self.next = next_
        self._router = router
        self._snapshot = components.snapshot

    async def handle(self, call: Call, reply: Reply) -> None:
        """See Segment."""
        if self.next is not None and not asks_only(call):
            await self.next.handle(call, reply)
            return
        chosen, route = await self._ask(call)
        call.route = route
        _send(call, reply, _nvext(chosen, route))

    async def answer(self, call: Call, *, explain: bool = False) -> dict[str, Any]:
        """The choice as plain JSON, for ``POST /v1/route``; ``explain`` adds every candidate's terms.
        Raises ApiError as a route would."""
        chosen, route = await self._ask(call)
        page: dict[str, Any] = {
            "model": call.asked_model,
            "routing_mode": "aggregated" if route.prefill is None else "disaggregated",
            "worker": _leg(route.worker),
            "prefill_worker": None if route.prefill is None else _leg(route.prefill),
            "reason": route.reason,
            "token_ids": _ids(chosen),
            "tokens": chosen.tokens.exactness.value,
            "degraded": chosen.tokens.degraded,
            "prompt_tokens": chosen.tokens.prompt_tokens,
            "cached_tokens": route.cached_tokens,
        }
        if explain:
            page["explanation"] = summary(chosen.choice, chosen.tokens, self._snapshot())
        return page

    async def _ask(self, call: Call) -> tuple[Chosen, Route]:
        chosen = await self._router.choose(call, book=False)
        return chosen, self._router.route_of(chosen)


def asks_only(call: Call) -> bool:
    """Whether the client wants to know, not to be served."""
    return any(annotation.startswith(ANNOTATION) for annotation in call.nvext.routing.annotations)


def _leg(leg: Leg) -> dict[str, Any]:
    endpoint = leg.endpoint
    return {
        "worker_id": endpoint.worker_id,
        "dp_rank": leg.rank,
        "endpoint": endpoint.host_port,
        "name": endpoint.name,
        "role": endpoint.role.value,
    }


def _nvext(chosen: Chosen, route: Route) -> dict[str, Any]:
    """Dynamo's form, with the pair as it is; unsplit, the one worker does both parts."""
    prefill, decode = route.prefill or route.worker, route.worker
    return {
        "worker_id": {
            "prefill_worker_id": prefill.endpoint.worker_id,
            "prefill_dp_rank": prefill.rank,
            "decode_worker_id": decode.endpoint.worker_id,
            "decode_dp_rank": decode.rank,
        },
        "token_ids": _ids(chosen),
    }


def _ids(chosen: Chosen) -> list[int] | None:
    """The prompt's ids; None: nobody here knows them. Estimates would look like ids and mean none."""
    return token_ids(chosen.tokens.tokens) if chosen.tokens.are_ids else None


def _send(call: Call, reply: Reply, nvext: dict[str, Any]) -> None:
    """An answer of the API's own shape that says nothing but ``nvext``."""
    body = msgspec.json.encode({**_shape(call), "created": int(time.time()), "nvext": nvext})
    if not call.stream:
        whole(reply, 200, _JSON, body)
        return
    reply.start(200, _SSE)
    reply.data(event(body) + DONE)
    reply.end()


def _shape(call: Call) -> dict[str, Any]:
    shape = _SHAPES.get((call.api, "chunk" if call.stream else "whole"))
    if shape is None:
        return {"object": "list", "model": call.model, "data": []}
    prefix, object_, choices = shape
    return {"id": f"{prefix}-{call.request_id}", "object": object_, "model": call.model, "choices": choices}


_TEXT: Final = [{"index": 0, "text": "", "logprobs": None, "finish_reason": None}]
_MESSAGE: Final = {"role": "assistant", "content": None}
_SHAPES: Final[dict[tuple[Api, str], tuple[str, str, list[dict[str, Any]]]]] = {
    (Api.CHAT, "whole"): (
        "chatcmpl",
        "chat.completion",
        [{"index": 0, "message": _MESSAGE, "finish_reason": None}],
    ),
    (Api.CHAT, "chunk"): (
        "chatcmpl",
        "chat.completion.chunk",
        [{"index": 0, "delta": _MESSAGE, "finish_reason": None}],
    ),
    (Api.COMPLETIONS, "whole"): ("cmpl", "text_completion", _TEXT),
    (Api.COMPLETIONS, "chunk"): ("cmpl", "text_completion", _TEXT),
}
"""(prefix of ``id``, ``object``, ``choices``) by API and form."""
