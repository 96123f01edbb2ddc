"""Migration: a request that loses its worker goes on at another one, and its client reads one answer."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from frontend.config.model import ToleranceConfig
from frontend.errors import OVERLOAD, ApiError
from frontend.http.api import Failure, Reply
from frontend.pipeline.call import Call, Segment
from frontend.pipeline.components import Components
from frontend.pipeline.lost import WorkerLostError
from frontend.routing.known import serving
from frontend.tolerance.attempt import AttemptReply
from frontend.tolerance.openai_stream import ContextWindow
from frontend.tolerance.resumption import Resumption, resumption_of

_log = logging.getLogger(__name__)

_WAIT_S: Final = 0.25
"""Until a request that lost its worker and found no other asks again: whoever replaces it needs a moment to
be known, whoever is busy to become free."""
_NOBODY: Final = 503
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


@dataclass(slots=True)
class _Quest:
    """One request's search for workers."""

    strangers: frozenset[int]
    """Workers that do not serve its model."""
    begun: bool = False
    """Some worker may have begun it, so that its client is owed the rest."""


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
        self._search_s = config.queue_timeout_s
        self._snapshot = components.snapshot
        self._health = components.health
        self._clock = components.clock
        self._window = window
        self._counters = counters or NoCounters()

    async def handle(self, call: Call, reply: Reply) -> None:
        """See Segment. ``call`` is left as it came, for whoever asks again."""
        asked = (call.api, call.path, call.body)
        try:
            await self._handle(call, reply)
        finally:
            call.api, call.path, call.body = asked

    async def _handle(self, call: Call, reply: Reply) -> None:
        resumption = resumption_of(call, self._snapshot(), self._window)
        call.body = resumption.asking(call.body)
        quest = _Quest(frozenset(call.excluded))
        attempt, left = AttemptReply(reply, resumption), self._limit
        while (failure := await self._attempt(call, attempt, quest)) is not None:
            lost_s = self._clock()
            quest.begun = quest.begun or not failure.unbegun
            if (owed := resumption.conclusion()) is not None:
                _conclude(reply, owed)
                return
            if why := self._why_not(attempt, resumption, quest, left):
                self._give_up(call, attempt, failure, why)
                return
            left -= 1
            self._move(call, attempt, resumption, failure)
            attempt = AttemptReply(reply, resumption, began=self._resumed(call, lost_s))
        attempt.settle()

    async def _attempt(self, call: Call, attempt: AttemptReply, quest: _Quest) -> WorkerLostError | None:
        """How a worker was lost; None: it was not."""
        deadline_s = self._clock() + self._search_s
        while True:
            try:
                await self.next.handle(call, attempt)
            except WorkerLostError as error:
                call.excluded.add(error.worker_id)
                if not (error.unbegun and self._searches(call, quest, deadline_s)):
                    return error
            except ApiError as error:
                if not (_unfound(error) and self._searches(call, quest, deadline_s)):
                    raise
                call.excluded &= quest.strangers  # everybody has failed once: better any of them than none
                await _wait(call, error)
            else:
                return _broken(call, attempt)

    def _searches(self, call: Call, quest: _Quest, deadline_s: float) -> bool:
        """Whether a request that had a worker goes on looking for the next one."""
        return call.facts.migrations > 0 and self._clock() < deadline_s and not self._hopeless(quest)

    def _hopeless(self, quest: _Quest) -> bool:
        """Every worker there is has proved to be out of reach, and the client has lost nothing yet."""
        if quest.begun or self._health.all_usable():
            return False
        ids = {endpoint.worker_id for endpoint in serving(self._snapshot())} - quest.strangers
        return bool(ids) and not any(map(self._health.usable, ids))

    def _move(
        self, call: Call, attempt: AttemptReply, resumption: Resumption, failure: WorkerLostError
    ) -> None:
        """Make ``call`` the request for what is missing."""
        call.facts.migrations += 1
        self._counters.migrated(call.asked_model, begun=attempt.started)
        _log.info("request %s goes on elsewhere: %s", call.request_id, failure.message)
        resumption.go_on(call)

    def _give_up(self, call: Call, attempt: AttemptReply, failure: ApiError, why: str) -> None:
        """End the request with what there is. Raises the failure, unless the worker's own answer tells it."""
        self._counters.given_up(call.asked_model, begun=attempt.started, why=why)
        _log.warning("request %s stays lost: %s", call.request_id, why)
        if not attempt.complete:
            raise failure
        attempt.settle()

    def _why_not(self, attempt: AttemptReply, resumption: Resumption, quest: _Quest, left: int) -> str:
        if not left:
            return "limit"
        if self._hopeless(quest):
            return "unreachable"
        if not attempt.replaceable:
            return "answer-begun"
        length = resumption.length_tokens
        if self._max_seq_len is not None and length is not None and length > self._max_seq_len:
            return TOO_LONG
        return resumption.why_not()

    def _resumed(self, call: Call, lost_s: float) -> Callable[[], None]:
        return lambda: self._counters.resumed(call.asked_model, self._clock() - lost_s)


def _conclude(reply: Reply, owed: bytes) -> None:
    """The last token had passed: only the end of the answer was lost."""
    if owed:
        reply.data(owed)
    reply.end()


def _broken(call: Call, attempt: AttemptReply) -> WorkerLostError | None:
    """The loss of a worker whose answer came to an end, but not to its own."""
    if not attempt.broken:
        return None
    assert call.route is not None, "somebody answered"
    worker_id = call.route.worker.endpoint.worker_id
    call.excluded.add(worker_id)
    return WorkerLostError(Failure.RESET, worker_id)


async def _wait(call: Call, error: ApiError) -> None:
    """In line with the others where there is a line, else for a moment. Raises ApiError when that is too
    long."""
    if error.cause == OVERLOAD and call.wait_in_line is not None:
        await call.wait_in_line()
    else:
        await asyncio.sleep(_WAIT_S)


def _unfound(error: ApiError) -> bool:
    """Nobody is there, or everybody is busy."""
    return error.status == _NOBODY or error.cause == OVERLOAD
