"""Parked KV: given once, awaited within limits, dropped after its lease."""

import asyncio

from epp.testing.engine.ids import ids
from epp.testing.engine.shelf import Parked, Shelf

PROMPT = Parked.of(ids([1, 2, 3]))


def test_prompts_are_told_apart() -> None:
    assert PROMPT == Parked.of(ids([1, 2, 3])) != Parked.of(ids([1, 2, 4]))
    assert PROMPT.tokens == 3


async def test_what_is_parked_is_given_once() -> None:
    shelf = Shelf(lease_s=60.0)
    shelf.put("a", PROMPT)
    assert await shelf.take("b") is None
    assert await shelf.take("a") == PROMPT
    assert await shelf.take("a") is None
    assert (shelf.parked, shelf.taken, shelf.expired) == (1, 1, 0)


async def test_who_comes_first_waits() -> None:
    shelf = Shelf(lease_s=60.0)
    taking = asyncio.ensure_future(shelf.take("room", wait_s=60.0))
    await asyncio.sleep(0)
    shelf.put("room", PROMPT)
    assert await shelf.until_taken("room")
    assert await taking == PROMPT


async def test_nobody_waits_for_ever() -> None:
    shelf = Shelf(lease_s=0.001)
    assert await shelf.take("room", wait_s=0.001) is None
    shelf.put("room", PROMPT)
    assert not await shelf.until_taken("room")
    assert await shelf.take("room") is None
    assert shelf.expired == 1
