"""Host names to addresses."""

import asyncio

from epp.core.endpoints import Endpoint
from epp.discovery.resolve import Resolver, system_lookup


def endpoint(address: str, worker_id: int = 1) -> Endpoint:
    return Endpoint(name=str(worker_id), address=address, port=80, worker_id=worker_id)


async def test_literals_are_not_looked_up() -> None:
    async def lookup(name: str) -> str:
        raise AssertionError(name)

    assert await Resolver(lookup).resolve([endpoint("10.0.0.1")]) == ((endpoint("10.0.0.1"),), ())


async def test_a_name_that_fails_keeps_its_last_address() -> None:
    answers = ["10.0.0.5"]

    async def lookup(name: str) -> str:
        if not answers:
            raise OSError("down")
        return answers.pop()

    resolver = Resolver(lookup)
    assert await resolver.resolve([endpoint("a")]) == ((endpoint("10.0.0.5"),), ())
    assert await resolver.resolve([endpoint("a")]) == ((endpoint("10.0.0.5"),), ("a",))
    await resolver.resolve([])
    assert await resolver.resolve([endpoint("a")]) == ((), ("a",))


async def test_a_slow_name_does_not_hold_the_others() -> None:
    async def lookup(name: str) -> str:
        if name == "slow":
            await asyncio.Event().wait()
        return "10.0.0.1"

    found, failed = await Resolver(lookup, deadline_s=0.01).resolve([endpoint("slow", 1), endpoint("b", 2)])
    assert (found, failed) == ((endpoint("10.0.0.1", 2),), ("slow",))


async def test_the_system_knows_localhost() -> None:
    assert await system_lookup("localhost") in ("127.0.0.1", "::1")
