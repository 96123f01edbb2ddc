"""Requests that wait for their turn."""

import asyncio
from collections.abc import Callable

import pytest

from epp.config.model import Config, ServerConfig
from epp.core.poolrules import PoolRules
from frontend.config.model import FrontendConfig, ToleranceConfig
from frontend.errors import ApiError
from frontend.http.api import Reply, whole
from frontend.pipeline.call import Call
from frontend.tolerance.line import Full
from frontend.tolerance.queue import WaitingQueue
from tests.unit.frontend.fakes import FakeReply, call


class Pool:
    """A segment with so many places; a request holds one until it is released."""

    name = "pool"

    def __init__(self, places: int) -> None:
        self.places = places
        self.routed: list[str] = []
        self.holding: dict[str, asyncio.Event] = {}

    async def handle(self, call: Call, reply: Reply) -> None:
        if len(self.holding) >= self.places:
            raise ApiError(529, "busy", cause="overload")
        if call.on_routed is not None:
            call.on_routed()
        self.routed.append(call.request_id)
        done = self.holding[call.request_id] = asyncio.Event()
        try:
            await done.wait()
        finally:
            del self.holding[call.request_id]
        whole(reply, 200, (), b"{}")


class Told:
    def __init__(self) -> None:
        self.requests = self.tokens = 0
        self.away: list[Full] = []

    def waiting(self, model: str, requests: int, tokens: int) -> None:
        self.requests += requests
        self.tokens += tokens

    def turned_away(self, model: str, reason: Full) -> None:
        self.away.append(reason)


def made(places: int = 1, **settings: object) -> tuple[WaitingQueue, Pool, Told]:
    tolerance = ToleranceConfig(**({"queue_max_requests": 4} | settings))  # type: ignore[arg-type]
    pool, told = Pool(places), Told()
    config = FrontendConfig(tolerance=tolerance)
    return WaitingQueue(pool, config, asyncio.get_running_loop().time, told), pool, told


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not true():
            await asyncio.sleep(0.001)


async def test_a_busy_pool_is_waited_for_in_order() -> None:
    queue, pool, told = made()
    tasks: list[asyncio.Task[None]] = []
    for number in range(4):
        one = call(request_id=str(number), arrived_s=float(number))
        tasks.append(asyncio.create_task(queue.handle(one, FakeReply())))
        await until(lambda n=number: len(pool.holding) + len(queue) == n + 1)  # type: ignore[misc]
    assert (len(queue), told.requests) == (3, 3)
    for number in range(4):
        await until(lambda n=number: str(n) in pool.holding)  # type: ignore[misc]
        pool.holding[str(number)].set()
    await asyncio.gather(*tasks)
    assert pool.routed == ["0", "1", "2", "3"]
    assert (told.requests, told.tokens) == (0, 0)


async def test_a_full_line_refuses() -> None:
    queue, pool, told = made(queue_max_requests=1)
    first = asyncio.create_task(queue.handle(call(request_id="a"), FakeReply()))
    await until(lambda: bool(pool.holding))
    second = asyncio.create_task(queue.handle(call(request_id="b"), FakeReply()))
    await until(lambda: len(queue) == 1)
    with pytest.raises(ApiError) as caught:
        await queue.handle(call(request_id="c"), FakeReply())
    assert (caught.value.status, caught.value.cause) == (529, "overload")
    assert told.away == [Full.REQUESTS]
    for name in ("a", "b"):
        await until(lambda n=name: n in pool.holding)  # type: ignore[misc]
        pool.holding[name].set()
    await asyncio.gather(first, second)


async def test_waiting_has_a_deadline() -> None:
    queue, pool, told = made(queue_timeout_s=0.03)
    first = asyncio.create_task(queue.handle(call(request_id="a"), FakeReply()))
    await until(lambda: bool(pool.holding))
    with pytest.raises(ApiError) as caught:
        await queue.handle(call(request_id="b"), FakeReply())
    assert caught.value.status == 529
    assert (len(queue), told.requests) == (0, 0)
    pool.holding["a"].set()
    await first


async def test_a_client_that_leaves_leaves_the_line() -> None:
    queue, pool, told = made()
    first = asyncio.create_task(queue.handle(call(request_id="a"), FakeReply()))
    await until(lambda: bool(pool.holding))
    second = asyncio.create_task(queue.handle(call(request_id="b"), FakeReply()))
    await until(lambda: len(queue) == 1)
    second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second
    assert (len(queue), told.requests) == (0, 0)
    pool.holding["a"].set()
    await first


async def test_priorities_beyond_any_float_wait_too() -> None:
    queue, pool, _ = made()
    first = asyncio.create_task(queue.handle(call(request_id="a"), FakeReply()))
    await until(lambda: bool(pool.holding))
    one = call({"priority": -(10**400)}, request_id="b")
    second = asyncio.create_task(queue.handle(one, FakeReply()))
    await until(lambda: len(queue) == 1)
    pool.holding["a"].set()
    await until(lambda: "b" in pool.holding)
    pool.holding["b"].set()
    await asyncio.gather(first, second)


async def test_other_errors_are_nothing_to_wait_for() -> None:
    class Refusing:
        name = "refusing"

        async def handle(self, call: Call, reply: Reply) -> None:
            raise ApiError(404, "no such model")

    queue = WaitingQueue(Refusing(), FrontendConfig(), asyncio.get_running_loop().time)
    with pytest.raises(ApiError, match="no such model"):
        await queue.handle(call(), FakeReply())


async def test_capacity_that_nobody_here_freed_is_noticed() -> None:
    queue, pool, _ = made()
    first = asyncio.create_task(queue.handle(call(request_id="a"), FakeReply()))
    await until(lambda: bool(pool.holding))
    second = asyncio.create_task(queue.handle(call(request_id="b"), FakeReply()))
    await until(lambda: len(queue) == 1)
    pool.places = 2
    await until(lambda: "b" in pool.holding)
    for name in ("a", "b"):
        pool.holding[name].set()
    await asyncio.gather(first, second)


class Losing(Pool):
    """Routes requests whose name begins with "lost" to a worker that is not there, once each."""

    def __init__(self, places: int) -> None:
        super().__init__(places)
        self.lost: set[str] = set()

    async def handle(self, call: Call, reply: Reply) -> None:
        if call.request_id.startswith("lost") and call.request_id not in self.lost and self.lost_now:
            self.lost.add(call.request_id)
            if call.on_routed is not None:
                call.on_routed()
            raise ApiError(529, "the others are busy", cause="overload")
        await super().handle(call, reply)

    lost_now = False


async def test_who_was_admitted_in_vain_gets_its_place_back() -> None:
    pool, told = Losing(1), Told()
    config = FrontendConfig(tolerance=ToleranceConfig(queue_max_requests=2))
    queue = WaitingQueue(pool, config, asyncio.get_running_loop().time, told)
    holder = asyncio.create_task(queue.handle(call(request_id="a"), FakeReply()))
    await until(lambda: "a" in pool.holding)
    tasks = []
    for count, name in enumerate(("lost", "b"), 1):
        tasks.append(asyncio.create_task(queue.handle(call(request_id=name), FakeReply())))
        await until(lambda count=count: len(queue) == count)  # type: ignore[misc]
    pool.lost_now = True
    await until(lambda: bool(pool.lost))
    await until(lambda: len(queue) == 2)
    pool.holding["a"].set()
    for name in ("lost", "b"):
        await until(lambda name=name: name in pool.holding)  # type: ignore[misc]
        pool.holding[name].set()
    await asyncio.gather(holder, *tasks)
    assert pool.routed == ["a", "lost", "b"]
    assert (told.requests, told.tokens, len(queue)) == (0, 0, 0)


class Dying(Pool):
    """The worker of "begun" dies with it; it asks for another, in line."""

    async def handle(self, call: Call, reply: Reply) -> None:
        if call.request_id == "begun":
            done = self.holding["begun"] = asyncio.Event()
            await done.wait()
            self.holding = {"somebody else": asyncio.Event()}
            call.facts.migrations = 1
            while len(self.holding) >= self.places:
                assert call.wait_in_line is not None
                await call.wait_in_line()
        await super().handle(call, reply)


async def test_an_answer_that_has_begun_goes_first_and_past_the_bounds() -> None:
    pool, told = Dying(1), Told()
    config = FrontendConfig(tolerance=ToleranceConfig(queue_max_requests=1))
    queue = WaitingQueue(pool, config, asyncio.get_running_loop().time, told)
    begun = asyncio.create_task(queue.handle(call(request_id="begun"), FakeReply()))
    await until(lambda: "begun" in pool.holding)
    waiting = asyncio.create_task(queue.handle(call(request_id="b"), FakeReply()))
    await until(lambda: len(queue) == 1)
    pool.holding["begun"].set()
    await until(lambda: len(queue) == 2)
    pool.holding.clear()
    for name in ("begun", "b"):
        await until(lambda name=name: name in pool.holding)  # type: ignore[misc]
        pool.holding[name].set()
    await asyncio.gather(begun, waiting)
    assert pool.routed == ["begun", "b"]
    assert (told.away, told.requests, told.tokens) == ([], 0, 0)


@pytest.mark.parametrize(("trusted", "order"), [(True, ["a", "c", "b"]), (False, ["a", "b", "c"])])
async def test_an_objectives_priority_counts_if_the_client_is_trusted(
    trusted: bool, order: list[str]
) -> None:
    rules, pool = PoolRules(), Pool(1)
    rules.priorities = {"urgent": 100}
    config = FrontendConfig(
        picker=Config(server=ServerConfig(trust_client_headers=trusted)),
        tolerance=ToleranceConfig(queue_max_requests=4),
    )
    queue = WaitingQueue(pool, config, asyncio.get_running_loop().time, rules=rules)
    tasks: list[asyncio.Task[None]] = []
    for number, name in enumerate("abc"):
        headers = {"x-llm-d-inference-objective": "urgent" if name == "c" else "unknown"}
        one = call(headers=headers, request_id=name, arrived_s=float(number))
        tasks.append(asyncio.create_task(queue.handle(one, FakeReply())))
        await until(lambda n=number: len(pool.holding) + len(queue) == n + 1)  # type: ignore[misc]
    for name in order:
        await until(lambda name=name: name in pool.holding)  # type: ignore[misc]
        pool.holding[name].set()
    await asyncio.gather(*tasks)
    assert pool.routed == order
