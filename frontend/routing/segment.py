"""The route segment: asks a router, hands on, and tells the router how it ended, exactly once per route."""

import asyncio
from collections.abc import Callable

from epp.core.outcomes import Ending, ResponseFacts
from frontend.errors import OVERLOAD, ApiError
from frontend.http.api import Reply
from frontend.pipeline.call import Call, Route, Router, Segment
from frontend.pipeline.components import uncounted
from frontend.pipeline.lost import WorkerLostError


class RouteSegment:
    """Takes a request to another worker if the first certainly never began it."""

    def __init__(
        self, next_: Segment, router: Router, *, retries: int, retried: Callable[[], None] = uncounted
    ) -> None:
        """``retries``: further workers to try; 0 where a router cannot find another. ``retried`` is told of
        each."""
        self.name = f"route-{router.name}"
        self.next = next_
        self._router = router
        self._retries = retries
        self._retried = retried

    async def handle(self, call: Call, reply: Reply) -> None:
        """See Segment."""
        failed: WorkerLostError | None = None
        for left in range(self._retries, -1, -1):
            route = await self._find(call, failed)
            if failed is not None:
                self._retried()
            try:
                return await self._serve(call, reply, route)
            except WorkerLostError as error:
                if not left or not error.repeatable or reply.started:
                    raise
                call.excluded.add(error.worker_id)
                failed = error
        raise AssertionError("the last attempt returns or raises")

    async def _find(self, call: Call, failed: WorkerLostError | None) -> Route:
        """A route; when nobody is left, the reason the last one failed says more than that. Workers that are
        only busy are worth waiting for."""
        try:
            return await self._router.route(call)
        except ApiError as error:
            if failed is not None and error.cause != OVERLOAD:
                raise failed from error
            raise

    async def _serve(self, call: Call, reply: Reply, route: Route) -> None:
        call.route = route
        if call.on_routed is not None:
            call.on_routed()
        ending = Ending.ERROR
        try:
            await self.next.handle(call, reply)
            ending = Ending.COMPLETED
        except asyncio.CancelledError:
            ending = call.cut or Ending.CLIENT_GONE
            raise
        finally:
            self._router.finish(route, ending, _facts(call, route))


def _facts(call: Call, route: Route) -> ResponseFacts:
    facts = call.facts
    return ResponseFacts(
        status=facts.status,
        served=route.worker.endpoint.host_port,
        prompt_tokens=facts.prompt_tokens,
        cached_tokens=facts.cached_tokens,
        completion_tokens=facts.output_tokens or None,
    )
