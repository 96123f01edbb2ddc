"""The waiting queue: requests that found everybody busy wait for their turn instead of being refused.

The head of the line asks the router again whenever a request ends, and every few milliseconds besides, for
loads also change without us. While somebody waits, newcomers stand behind.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from typing import Final, Protocol

from epp.core.poolrules import PoolRules
from epp.wire.headers import read_routing_headers
from frontend.config.model import FrontendConfig
from frontend.errors import OVERLOAD, ApiError
from frontend.http.api import Reply
from frontend.pipeline.call import Call, Segment
from frontend.tolerance.line import Full, Line, LinePolicy, Waiter

_EVERY_S: Final = 0.02
"""How often the head of the line asks again."""
_FIRST: Final = 1 << 32
"""The tier of requests whose answer had begun when they lost their worker: a client is reading."""
_BYTES_PER_TOKEN: Final = 4
"""Of a body that is not tokenized yet."""
_MAX_PRIORITY: Final = 2**31 - 1
"""Bodies may hold integers beyond any float."""


class QueueCounters(Protocol):
    """What the queue tells; none may raise."""

    def waiting(self, model: str, requests: int, tokens: int) -> None:
        """That many more (or fewer) requests and prompt tokens are in line."""
        ...

    def turned_away(self, model: str, reason: Full) -> None:
        """The line was full."""
        ...


class NoCounters:
    """Counts nothing."""

    def waiting(self, model: str, requests: int, tokens: int) -> None:
        """See :class:`QueueCounters`."""

    def turned_away(self, model: str, reason: Full) -> None:
        """See :class:`QueueCounters`."""


@dataclass(slots=True)
class _Stay:
    """One request at the queue."""

    call: Call
    waiter: Waiter | None = None
    """None: it never had to wait."""
    in_line: bool = False
    entered_s: float = 0.0
    """When it took its place, the last time."""


class WaitingQueue:
    """A segment above migration and the route."""

    name = "queue"

    def __init__(
        self,
        next_: Segment,
        config: FrontendConfig,
        clock: Callable[[], float],
        counters: QueueCounters | None = None,
        rules: PoolRules | None = None,
    ) -> None:
        """``rules`` give a trusted client's objective its priority; None: there are none."""
        tolerance = config.tolerance
        self.next = next_
        self._clock = clock
        self._timeout_s = tolerance.queue_timeout_s
        self._overload_status = config.http.overload_status
        self._line = Line(
            LinePolicy(tolerance.queue_policy),
            max_requests=tolerance.queue_max_requests,
            max_tokens=tolerance.queue_max_tokens,
        )
        self._counters = counters or NoCounters()
        self._rules = rules or PoolRules()
        self._trusts_objectives = config.picker.server.trust_client_headers
        self._numbers = count()
        self._turns: dict[int, asyncio.Future[None]] = {}
        """Of waiters that are not trying, by number."""
        self._trying: Waiter | None = None
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._line)

    async def handle(self, call: Call, reply: Reply) -> None:
        """See Segment."""
        stay = _Stay(call)
        call.wait_in_line = partial(self._turn, stay)
        try:
            if len(self._line):
                await self._turn(stay)
            while True:
                try:
                    return await self.next.handle(call, reply)
                except ApiError as error:
                    if not _overloaded(error, reply):
                        raise
                await self._turn(stay)
        finally:
            call.wait_in_line = call.on_routed = None
            self._leave(stay)
            self._ask_head()

    async def _turn(self, stay: _Stay) -> None:
        """Wait to be the one who asks. Raises ApiError when that takes too long, or the line is full."""
        if not stay.in_line:
            self._enter(stay)
        assert stay.waiter is not None, "just entered"
        self._stop_trying(stay.waiter)
        await self._called(stay.waiter, stay.entered_s + self._timeout_s)
        stay.call.on_routed = partial(self._admitted, stay)

    def _enter(self, stay: _Stay) -> None:
        call, waiter = stay.call, stay.waiter or self._waiter(stay.call)
        begun = call.facts.migrations > 0
        if begun:
            waiter = replace(waiter, strict_priority=_FIRST)
        if begun or stay.waiter is not None:
            self._line.enter_again(waiter)
        elif full := self._line.enter(waiter):
            self._counters.turned_away(call.asked_model, full)
            raise self._busy()
        stay.waiter, stay.in_line, stay.entered_s = waiter, True, self._clock()
        self._counters.waiting(call.asked_model, 1, waiter.prompt_tokens)

    def _waiter(self, call: Call) -> Waiter:
        hints = call.nvext.routing.agent_hints
        ruled = self._ruled(call)
        asked = hints.priority or call.body.get("priority", int) or 0
        return Waiter(
            number=next(self._numbers),
            arrived_s=call.arrived_s,
            prompt_tokens=_tokens(call),
            priority=_bounded(asked if ruled is None else ruled),
            strict_priority=_bounded(hints.strict_priority or 0),
        )

    def _ruled(self, call: Call) -> int | None:
        """The priority of the objective that is named; None: of none that is known."""
        if not self._trusts_objectives or not self._rules.priorities:
            return None
        return self._rules.priority_of(read_routing_headers(call.headers).objective)

    async def _called(self, waiter: Waiter, deadline_s: float) -> None:
        turn = self._turns[waiter.number] = asyncio.get_running_loop().create_future()
        self._ask_later()
        try:
            async with asyncio.timeout(max(0.0, deadline_s - self._clock())):
                await turn
        except TimeoutError:
            raise self._busy() from None
        finally:
            self._turns.pop(waiter.number, None)

    def _admitted(self, stay: _Stay) -> None:
        """The router found somebody: the next in line may ask."""
        stay.call.on_routed = None
        stay.call.facts.queued_s += self._clock() - stay.entered_s
        self._leave(stay)
        self._ask_head()

    def _leave(self, stay: _Stay) -> None:
        if stay.waiter is None or not stay.in_line:
            return
        stay.in_line = False
        self._line.leave(stay.waiter)
        self._counters.waiting(stay.call.asked_model, -1, -stay.waiter.prompt_tokens)
        self._stop_trying(stay.waiter)

    def _stop_trying(self, waiter: Waiter) -> None:
        if self._trying is waiter:
            self._trying = None

    def _ask_head(self) -> None:
        head = self._line.head
        if head is None or self._trying is not None:
            return
        turn = self._turns.get(head.number)
        if turn is not None and not turn.done():
            self._trying = head
            turn.set_result(None)

    def _ask_later(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_EVERY_S, self._tick)

    def _tick(self) -> None:
        self._timer = None
        self._ask_head()
        if len(self._line):
            self._ask_later()

    def _busy(self) -> ApiError:
        return ApiError(self._overload_status, "Service temporarily overloaded", cause=OVERLOAD)


def _overloaded(error: ApiError, reply: Reply) -> bool:
    return error.cause == OVERLOAD and not reply.started


def _bounded(priority: int) -> int:
    return max(-_MAX_PRIORITY, min(_MAX_PRIORITY, priority))


def _tokens(call: Call) -> int:
    given = call.nvext.routing.token_data
    return len(given) // 4 if given is not None else len(call.body.encode()) // _BYTES_PER_TOKEN
