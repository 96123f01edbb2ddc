"""The route segment: one ending per route, and another worker only for what was certainly not begun."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from epp.core.outcomes import Ending
from frontend.errors import OVERLOAD, ApiError, unavailable
from frontend.http.api import Failure
from frontend.pipeline.call import Leg, Route
from frontend.pipeline.lost import WorkerFaultError, WorkerLostError
from frontend.routing.segment import RouteSegment
from tests.unit.frontend.fakes import FakeReply, call, worker


class Rota:
    """Routes to workers 1, 2, 3 …, never an excluded one."""

    name = "rota"

    def __init__(self, last: int = 9) -> None:
        self.ends = []
        self._left = list(range(1, last + 1))

    async def route(self, request: Any) -> Any:
        if not self._left:
            raise unavailable("nobody left")
        worker_id = self._left.pop(0)
        assert worker_id not in request.excluded
        return Route(Leg(worker(worker_id)))

    def finish(self, route: Any, ending: Any, facts: Any) -> None:
        self.ends.append((route.worker.endpoint.worker_id, ending, facts.status))


class Script:
    """Fails as told, then answers."""

    name = "script"

    def __init__(self, *failures: Any, started: Any = False) -> None:
        self.failures = list(failures)
        self.served = []
        self.started = started

    async def handle(self, request: Any, reply: Any) -> None:
        worker_id = request.route.worker.endpoint.worker_id
        self.served.append(worker_id)
        if self.started:
            reply.start(200, ())
        if self.failures:
            failure = self.failures.pop(0)
            raise WorkerLostError(failure, worker_id) if isinstance(failure, Failure) else failure
        request.facts.status = 200


async def run(
    script: Any, *, retries: Any = 1, last: Any = 9, retried: Callable[[], None] = lambda: None
) -> Any:
    rota, request = Rota(last), call()
    segment = RouteSegment(script, rota, retries=retries, retried=retried)
    error = None
    try:
        await segment.handle(request, FakeReply())
    except (ApiError, asyncio.CancelledError) as caught:
        error = caught
    return rota.ends, error, request


async def test_one_route_one_ending() -> None:
    ends, error, _ = await run(Script())
    assert (ends, error) == ([(1, Ending.COMPLETED, 200)], None)


async def test_a_worker_that_cannot_be_reached_is_replaced_and_excluded() -> None:
    counted = []
    ends, error, request = await run(Script(Failure.CONNECT), retried=lambda: counted.append(1))
    assert len(counted) == 1
    assert ends == [(1, Ending.ERROR, None), (2, Ending.COMPLETED, 200)]
    assert error is None
    assert request.excluded == {1}


async def test_a_worker_that_reports_a_fault_is_replaced_once_and_a_fault_that_repeats_is_told() -> None:
    ends, error, request = await run(Script(WorkerFaultError(1)))
    assert ends == [(1, Ending.ERROR, None), (2, Ending.COMPLETED, 200)]
    assert error is None
    assert request.excluded == {1}
    ends, error, _ = await run(Script(WorkerFaultError(1), WorkerFaultError(2), WorkerFaultError(3)))
    assert [worker_id for worker_id, *_ in ends] == [1, 2]
    assert isinstance(error, WorkerFaultError)
    assert (error.status, error.type) == (500, "Internal Server Error")


@pytest.mark.parametrize("failure", [Failure.RESET, Failure.TIMEOUT, Failure.PROTOCOL, Failure.TOO_LARGE])
async def test_what_may_have_begun_is_not_repeated(failure: Any) -> None:
    ends, error, _ = await run(Script(failure))
    assert ends == [(1, Ending.ERROR, None)]
    assert isinstance(error, WorkerLostError)


async def test_an_answer_that_began_is_not_repeated() -> None:
    ends, error, _ = await run(Script(Failure.CONNECT, started=True))
    assert len(ends) == 1
    assert isinstance(error, WorkerLostError)


async def test_retries_are_limited() -> None:
    script = Script(*[Failure.CONNECT] * 5)
    ends, error, _ = await run(script, retries=2)
    assert script.served == [1, 2, 3]
    assert [ending for _, ending, _ in ends] == [Ending.ERROR] * 3
    assert isinstance(error, WorkerLostError)


async def test_without_retries_the_first_failure_is_the_answer() -> None:
    ends, error, _ = await run(Script(Failure.CONNECT), retries=0)
    assert len(ends) == 1
    assert isinstance(error, WorkerLostError)


async def test_when_nobody_is_left_the_failure_is_told_not_the_lack() -> None:
    ends, error, _ = await run(Script(Failure.CONNECT), last=1)
    assert len(ends) == 1
    assert isinstance(error, WorkerLostError)
    assert error.message == "The worker chosen for this request cannot be reached."


async def test_a_refused_route_has_no_ending() -> None:
    ends, error, _ = await run(Script(), last=0)
    assert ends == []
    assert isinstance(error, ApiError)
    assert error.message == "nobody left"


async def test_what_was_ended_from_above_counts_as_it_says() -> None:
    rota, request = Rota(), call(cut=Ending.COMPLETED)
    with pytest.raises(asyncio.CancelledError):
        await RouteSegment(Script(asyncio.CancelledError()), rota, retries=1).handle(request, FakeReply())
    assert rota.ends == [(1, Ending.COMPLETED, None)]


@pytest.mark.parametrize(
    ("raised", "ending"),
    [(asyncio.CancelledError(), Ending.CLIENT_GONE), (ApiError(500, "broken"), Ending.ERROR)],
)
async def test_endings(raised: Any, ending: Any) -> None:
    ends, error, _ = await run(Script(raised))
    assert ends == [(1, ending, None)]
    assert error is raised


async def test_who_finds_the_others_busy_is_told_that_and_not_of_the_first_that_failed() -> None:
    class BusyAfterwards(Rota):
        async def route(self, request: Any) -> Any:
            if request.excluded:
                raise ApiError(529, "busy", cause=OVERLOAD)
            return await super().route(request)

    segment = RouteSegment(Script(Failure.CONNECT), BusyAfterwards(), retries=1)
    with pytest.raises(ApiError, match="busy"):
        await segment.handle(call(), FakeReply())
