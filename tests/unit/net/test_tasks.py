"""Tasks with an owner."""

import asyncio

import pytest

from epp.net.tasks import KeyedTasks


async def forever(log: list[str]) -> None:
    try:
        await asyncio.Event().wait()
    finally:
        log.append("ended")


async def fail() -> None:
    raise RuntimeError("broken")


async def test_starting_again_replaces_and_close_waits() -> None:
    tasks, log = KeyedTasks[str](), list[str]()
    tasks.start("a", forever(log))
    await asyncio.sleep(0)
    tasks.start("a", forever(log))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert (log, tasks.keys()) == (["ended"], frozenset({"a"}))
    await tasks.close()
    assert (log, tasks.keys()) == (["ended", "ended"], frozenset())


async def test_a_failure_ends_the_watch() -> None:
    tasks = KeyedTasks[str]()
    watching = asyncio.create_task(tasks.watch())
    await asyncio.sleep(0)
    tasks.start("a", fail())
    with pytest.raises(RuntimeError, match="broken"):
        await watching
    await tasks.close()


async def test_a_failure_before_the_watch_is_not_lost() -> None:
    tasks = KeyedTasks[str]()
    tasks.start("a", fail())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    with pytest.raises(RuntimeError, match="broken"):
        await tasks.watch()
