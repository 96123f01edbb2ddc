"""The leaf: one request to the worker of its route, and the answer's pieces straight into the reply."""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from epp.core.outcomes import Ending
from frontend.config.model import FrontendConfig
from frontend.errors import OVERLOADED_STATUS
from frontend.http.api import Flow, Reply, UpstreamError, UpstreamResponse
from frontend.pipeline.call import Call, Facts, Leg, Route
from frontend.pipeline.components import Components
from frontend.pipeline.lost import WorkerFaultError, lost
from frontend.relay.hops import answer_headers
from frontend.relay.missing import NOT_FOUND, tell_not_found
from frontend.relay.outgoing import limits_of, worker_request

_log = logging.getLogger(__name__)

_KEPT: Final = frozenset({503, OVERLOADED_STATUS})
"""Server errors that say "not now" and nothing of the worker's inside."""
_REDIRECTIONS: Final = range(300, 400)
_MAX_FAULT_BYTES: Final = 64 * 1024
"""How much of a worker's own account of a fault is read, for the log."""
_SHOWN_FAULT_BYTES: Final = 2048


class Forward:
    """Sends ``call.body`` to ``call.route.worker``. Nothing of an answer is parsed."""

    name = "forward"

    def __init__(self, config: FrontendConfig, components: Components) -> None:
        self._upstream = components.upstream
        self._health = components.health
        self._clock = components.clock
        self._limits = limits_of(config.tolerance)

    async def handle(self, call: Call, reply: Reply) -> None:
        """See Segment. Raises WorkerLostError."""
        assert call.route is not None, "a route segment stands above"
        worker_id = call.route.worker.endpoint.worker_id
        if call.facts.dispatched_s is None:
            call.facts.dispatched_s = self._clock()
        self._health.sent(worker_id)
        try:
            await self._exchange(call, call.route, reply)
        except UpstreamError as error:
            self._health.failed(worker_id)
            _log.warning("worker %d: %s: %s", worker_id, error.failure, error)
            raise lost(error, call.route.worker) from error
        except WorkerFaultError:
            self._health.failed(worker_id)
            raise
        except asyncio.CancelledError:
            self._cut(call.cut, worker_id)
            raise
        self._health.succeeded(worker_id)

    def _cut(self, cut: Ending | None, worker_id: int) -> None:
        """Whoever ended the answer from above knows what it says of the worker; a client that left not."""
        if cut is Ending.COMPLETED:
            self._health.succeeded(worker_id)
        elif cut is not None:
            self._health.failed(worker_id)

    async def _exchange(self, call: Call, route: Route, reply: Reply) -> None:
        facts = call.facts
        response = await self._upstream.send(worker_request(call, route.worker, call.body, self._limits))
        facts.status = response.status
        if _is_fault(response.status):
            raise await _fault(response, route.worker)
        if response.status == NOT_FOUND:
            await tell_not_found(call, route, response, reply)
            return
        try:
            reply.start(response.status, answer_headers(response.headers, route.response_headers))
        except BaseException:
            response.close()
            raise
        await response.pipe(_Watched(reply, facts, self._clock))
        reply.end()


def _is_fault(status: int) -> bool:
    """Clients cannot follow a worker's redirection, and would learn its address."""
    return status in _REDIRECTIONS or (status >= 500 and status not in _KEPT)


async def _fault(response: UpstreamResponse, leg: Leg) -> WorkerFaultError:
    """A server error, or a redirection; what the worker said of it stays in the log."""
    try:
        said = await response.read(_MAX_FAULT_BYTES)
    except UpstreamError as error:
        said = str(error).encode()
    where = response.headers.get("location", "")
    said = f"to {where}".encode() if where else said[:_SHOWN_FAULT_BYTES]
    _log.error("worker %d answered %d: %r", leg.endpoint.worker_id, response.status, said)
    return WorkerFaultError(leg.endpoint.worker_id)


class _Watched:
    """A sink that notes when pieces pass, and nothing else."""

    __slots__ = ("_clock", "_data", "_facts", "_reply")

    def __init__(self, reply: Reply, facts: Facts, clock: Callable[[], float]) -> None:
        self._reply = reply
        self._data = reply.data
        self._facts = facts
        self._clock = clock

    def data(self, piece: bytes) -> None:
        """See Sink."""
        facts = self._facts
        facts.chunks += 1
        facts.last_token_s = now_s = self._clock()
        if facts.first_token_s is None:
            facts.first_token_s = now_s
        self._data(piece)

    def attach(self, source: Flow | None) -> None:
        """See Sink."""
        self._reply.attach(source)
