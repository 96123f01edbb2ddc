"""Migration: a request that loses its worker goes on at another one, and its client reads one answer."""

import asyncio
import logging
from collections.abc import Callable
from typing import Final, Protocol

from frontend.config.model import ToleranceConfig
from frontend.errors import ApiError
from frontend.http.api import Failure, Reply
from frontend.pipeline.call import Call, Segment
from frontend.pipeline.components import Components
from frontend.pipeline.lost import WorkerLostError
from frontend.tolerance.attempt import AttemptReply
from frontend.tolerance.openai_stream import ContextWindow
from frontend.tolerance.resumption import Resumption, resumption_of

_log = logging.getLogger(__name__)

_NOBODY: Final = 503
_WAIT_S: Final = 0.25
"""Before a request that found nobody left asks again; doubled each time. A worker that restarts, or its
replacement, needs a moment to be known."""
TOO_LONG: Final = "too-long"
"""Why a request longer than the bound is not moved."""


class MigrationCounters(Protocol):
    """What migration tells of its work; none may raise."""

    def migrated(self, model: str, *, begun: bool) -> None:
        """A request is taken elsewhere; ``begun`` if its answer had begun."""
        ...

    def resumed(self, model: str, seconds: float) -> None:
        """Its answer goes on; seconds since the loss."""
        ...

    def given_up(self, model: str, *, begun: bool, why: str) -> None:
        """A request stayed lost; ``why`` is one hyphenated word."""
        ...


class NoCounters:
    """Counts nothing."""

    def migrated(self, model: str, *, begun: bool) -> None:
        """See :class:`MigrationCounters`."""

    def resumed(self, model: str, seconds: float) -> None:
        """See :class:`MigrationCounters`."""

    def given_up(self, model: str, *, begun: bool, why: str) -> None:
        """See :class:`MigrationCounters`."""


class Migration:
    """Stands above the route, which finds another worker for every attempt."""

    name = "migration"

    def __init__(
        self,
        next_: Segment,
        config: ToleranceConfig,
        components: Components,
        *,
        window: ContextWindow = lambda _model: None,
        counters: MigrationCounters | None = None,
    ) -> None:
        self.next = next_
        self._limit = config.migration_limit
        self._max_seq_len = config.migration_max_seq_len
        self._snapshot = components.snapshot
        self._clock = components.clock
        self._window = window
        self._counters = counters or NoCounters()

    async def handle(self, call: Call, reply: Reply) -> None:
        """See Segment."""
        resumption = resumption_of(call, self._snapshot(), self._window)
        call.body = resumption.asking(call.body)
        attempt = AttemptReply(reply, resumption)
        for left in range(self._limit, -1, -1):
            failure = await self._attempt(call, attempt)
            if failure is None:
                attempt.settle()
                return
            lost_s = self._clock()
            if (owed := resumption.conclusion()) is not None:
                if owed:
                    reply.data(owed)
                reply.end()
                return
            if why := self._why_not(attempt, resumption, left):
                self._give_up(call, attempt, failure, why)
                return
            await self._move(call, attempt, resumption, failure, self._limit - left)
            attempt = AttemptReply(reply, resumption, began=self._resumed(call, lost_s))

    async def _attempt(self, call: Call, attempt: AttemptReply) -> ApiError | None:
        """What went wrong in a way that another worker might do right; None: nothing did."""
        try:
            await self.next.handle(call, attempt)
        except WorkerLostError as error:
            call.excluded.add(error.worker_id)
            return error
        except ApiError as error:
            if error.status != _NOBODY or not call.facts.migrations:
                raise
            call.excluded.clear()  # everybody has failed once: better any of them than none
            return error
        if not attempt.broken:
            return None
        assert call.route is not None, "somebody answered"
        worker_id = call.route.worker.endpoint.worker_id
        call.excluded.add(worker_id)
        return WorkerLostError(Failure.RESET, worker_id)

    async def _move(
        self, call: Call, attempt: AttemptReply, resumption: Resumption, failure: ApiError, moved: int
    ) -> None:
        """Make ``call`` the request for what is missing."""
        if not isinstance(failure, WorkerLostError):
            await asyncio.sleep(_WAIT_S * 2**moved)
        call.facts.migrations += 1
        self._counters.migrated(call.model, begun=attempt.started)
        _log.info("request %s goes on elsewhere: %s", call.request_id, failure.message)
        resumption.go_on(call)

    def _give_up(self, call: Call, attempt: AttemptReply, failure: ApiError, why: str) -> None:
        """End the request with what there is. Raises the failure, unless the worker's own answer tells it."""
        self._counters.given_up(call.model, begun=attempt.started, why=why)
        _log.warning("request %s stays lost: %s", call.request_id, why)
        if not attempt.complete:
            raise failure
        attempt.settle()

    def _why_not(self, attempt: AttemptReply, resumption: Resumption, left: int) -> str:
        if not left:
            return "limit"
        if not attempt.replaceable:
            return "answer-begun"
        length = resumption.length_tokens
        if self._max_seq_len is not None and length is not None and length > self._max_seq_len:
            return TOO_LONG
        return resumption.why_not()

    def _resumed(self, call: Call, lost_s: float) -> Callable[[], None]:
        return lambda: self._counters.resumed(call.model, self._clock() - lost_s)
