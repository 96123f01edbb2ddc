"""Discover: the picker chooses, within what the request pins and what has failed it already."""

from collections.abc import Mapping
from typing import Final

from epp.core.endpoints import Endpoint, PoolSnapshot, Role
from epp.core.intent import ANY_RANK
from epp.core.outcomes import DropReason, Ending, HeaderPairs, PickInput, Refused, ResponseFacts
from epp.picking.picker import Chosen, RequestPicker
from frontend.body import Body
from frontend.config.model import FrontendConfig
from frontend.errors import OVERLOAD, ApiError, bad_request
from frontend.pipeline.call import Call, Leg, Route
from frontend.pipeline.components import Components
from frontend.routing.known import NamedLegs, named_legs
from frontend.routing.pins import PIN_HEADERS, PREFILL, PREFILL_RANK, RANK, WORKER
from frontend.routing.pool import PoolWatch, check_taints, incomplete, not_ready, splittable

_OVERLOADED: Final = "Service temporarily overloaded"
_BUSY: Final = 429
"""What the picker says of a pool in which everybody is busy."""
_CLIENT_ERRORS: Final = range(400, 500)
_SERVING: Final = frozenset({Role.AGGREGATED, Role.DECODE})


class DiscoverRouter:
    """The picker as a Router: books every route, and ends every booking."""

    name = "discover"

    def __init__(self, picker: RequestPicker, config: FrontendConfig, components: Components) -> None:
        self._picker = picker
        self._snapshot = components.snapshot
        self._health = components.health
        self._overload_status = config.http.overload_status
        self._retry_after = _retry_after(config.http.retry_after_s)
        self._split = config.disagg.needs_prefill
        self._trusts_pins = config.picker.server.trust_client_headers
        self._watch = PoolWatch()

    async def route(self, call: Call) -> Route:
        """See Router."""
        chosen = await self.choose(call, book=True)
        if chosen.picked.body is not None:
            call.body = Body(chosen.picked.body)
        return self.route_of(chosen)

    def finish(self, route: Route, ending: Ending, facts: ResponseFacts) -> None:
        """See Router."""
        if route.picked is not None:
            self._picker.finish(route.picked, ending, facts)

    async def choose(self, call: Call, *, book: bool) -> Chosen:
        """The picker's answer; raises ApiError as :meth:`route` does."""
        snapshot = self._snapshot()
        missing = self._watch.missing(snapshot)
        alone = not self._split or not splittable(call.api)
        if missing.roles and not (alone and missing.roles == (Role.PREFILL,)):
            raise incomplete(call.model, missing)
        named = named_legs(call, snapshot, addresses=False) if self._trusts_pins else NamedLegs()
        _check_excluded(call, named)
        allowed = self._allowed(call, snapshot)
        asked = PickInput(
            method="POST",
            path=call.path,
            headers=_pinned(call, named),
            body=call.body.encode(),
            subset=None if allowed is None else tuple(e.host_port for e in allowed),
            request_id=call.request_id,
            client_model=call.asked_model or None,  # drawn already, be it its own name
        )
        outcome = await self._picker.choose(asked, book=book)
        if isinstance(outcome, Refused):
            raise self._refusal(call, outcome, named, allowed or snapshot.endpoints)
        return outcome

    def route_of(self, chosen: Chosen) -> Route:
        """A choice in terms of the pipeline."""
        by_worker, selection = self._snapshot().by_worker, chosen.choice.selection
        worker, prefill = selection.worker, selection.prefill
        return Route(
            worker=Leg(by_worker[worker.worker_id], worker.rank),
            prefill=None if prefill is None else Leg(by_worker[prefill.worker_id], prefill.rank),
            reason=chosen.picked.reason,
            picked=chosen.picked,
            tokens=chosen.tokens,
            uncached_tokens=round(selection.uncached_tokens),
            cached_tokens=selection.cached_tokens,
            response_headers=chosen.picked.response_headers,
        )

    def _allowed(self, call: Call, snapshot: PoolSnapshot) -> tuple[Endpoint, ...] | None:
        """Workers that have not failed this request and are not left alone; None: all.

        Where everybody is left alone, nobody is: trying beats refusing.
        """
        if not call.excluded and self._health.all_usable():
            return None
        kept = tuple(e for e in snapshot.endpoints if e.worker_id not in call.excluded)
        usable = tuple(e for e in kept if self._health.usable(e.worker_id))
        return usable if any(_serves(e) for e in usable) else kept

    def _refusal(
        self, call: Call, refused: Refused, named: NamedLegs, candidates: tuple[Endpoint, ...]
    ) -> ApiError:
        """A refusal of the picker as the client hears it."""
        if refused.status == _BUSY:
            return ApiError(self._overload_status, _OVERLOADED, headers=self._retry_after, cause=OVERLOAD)
        if refused.status in _CLIENT_ERRORS:
            return ApiError(refused.status, refused.message)
        if refused.reason is DropReason.NO_ENDPOINTS and call.nvext.routing.required_taints:
            at = (named.worker.endpoint,) if named.worker else tuple(e for e in candidates if _serves(e))
            check_taints(call.nvext.routing.required_taints, at)
        return not_ready(call.model, refused.message[:1].upper() + refused.message[1:])


def _serves(endpoint: Endpoint) -> bool:
    return endpoint.role in _SERVING


def _check_excluded(call: Call, named: NamedLegs) -> None:
    """A pin on a worker that is known not to serve the model.

    Who is excluded because it failed is told as a failure, by whoever tried it.
    """
    if call.facts.dispatched_s is not None:
        return
    for leg in (named.worker, named.prefill):
        if leg is not None and leg.endpoint.worker_id in call.excluded:
            raise bad_request(
                f"The request names worker {leg.endpoint.worker_id}, which does not serve model "
                f"`{call.model[:256]}`."
            )


def _retry_after(seconds: int) -> HeaderPairs:
    return (("retry-after", str(seconds)),) if seconds else ()


def _pinned(call: Call, named: NamedLegs) -> Mapping[str, str]:
    """The request's headers, with its pins where the picker reads them first, and no others."""
    legs = ((named.worker, WORKER[0], RANK[0]), (named.prefill, PREFILL[0], PREFILL_RANK[0]))
    if named.worker is None and named.prefill is None and PIN_HEADERS.isdisjoint(call.headers):
        return call.headers
    headers = {name: value for name, value in call.headers.items() if name not in PIN_HEADERS}
    for leg, name, rank in legs:
        if leg is not None:
            headers[name] = str(leg.endpoint.worker_id)
            if leg.rank != ANY_RANK:
                headers[rank] = str(leg.rank)
    return headers
