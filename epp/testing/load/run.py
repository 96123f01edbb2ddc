"""A plan in progress: which requests may start now, and with which messages. No clock, no sockets."""

import heapq
from collections.abc import Mapping

from epp.testing.load.plan import LoadPlan, PlannedRequest

Message = Mapping[str, str]


class LoadRun:
    """Drive it: start what ``due`` returns, report each end to ``finished``, until ``done``."""

    def __init__(self, plan: LoadPlan) -> None:
        self._spec = plan.spec
        self._requests = plan.requests
        self._followers = {r.after: r for r in plan.requests if r.after is not None}
        self._histories: dict[int, tuple[Message, ...]] = {}
        self._ready: list[tuple[float, int]] = []
        for request in plan.requests:
            if request.after is None:
                self._push(request, 0.0)
        self._in_flight = 0
        self._ended = 0

    @property
    def total(self) -> int:
        """Requests in the plan."""
        return len(self._requests)

    @property
    def ended(self) -> int:
        """Requests that ended, well or not."""
        return self._ended

    @property
    def done(self) -> bool:
        """Whether every request ended."""
        return self._ended == self.total

    @property
    def next_at_s(self) -> float | None:
        """When ``due`` will return something if nothing ends before; None: only an end can bring more."""
        if not self._ready or self._in_flight >= self._spec.max_in_flight:
            return None
        return self._ready[0][0]

    def due(self, now_s: float) -> list[PlannedRequest]:
        """Requests to start now; each is in flight from here on."""
        started: list[PlannedRequest] = []
        while (at_s := self.next_at_s) is not None and at_s <= now_s:
            started.append(self._requests[heapq.heappop(self._ready)[1]])
            self._in_flight += 1
        return started

    def messages(self, request: PlannedRequest) -> list[Message]:
        """The conversation ``request`` sends."""
        history = self._histories.get(request.index, ())
        if not history and request.system:
            history = ({"role": "system", "content": request.system},)
        return [*history, {"role": "user", "content": request.text}]

    def finished(self, request: PlannedRequest, answer: str, now_s: float) -> None:
        """A request ended with ``answer``, empty if it failed: the conversation then goes on without it."""
        self._in_flight -= 1
        self._ended += 1
        messages = self.messages(request)
        self._histories.pop(request.index, None)
        follower = self._followers.get(request.index)
        if follower is not None:
            self._histories[follower.index] = (*messages, {"role": "assistant", "content": answer})
            self._push(follower, now_s)

    def _push(self, request: PlannedRequest, not_before_s: float) -> None:
        planned_s = 0.0 if self._spec.fixed_concurrency else request.at_s
        heapq.heappush(self._ready, (max(planned_s, not_before_s), request.index))
