"""Parts that must run: restarted, counted, stopped."""

import asyncio
import logging

import pytest

from epp.net.background import Background, every


async def test_a_part_that_fails_is_counted_shown_and_started_again(caplog: pytest.LogCaptureFixture) -> None:
    failures: list[str] = []
    shown: list[str] = []
    up = asyncio.Event()

    async def work() -> None:
        if len(failures) < 2:
            raise OSError("broken")
        up.set()
        await asyncio.Event().wait()

    def on_failure(name: str) -> None:
        failures.append(name)
        shown.append(background.failing[name])

    background = Background(on_failure, restart_pause_s=0)
    with caplog.at_level(logging.CRITICAL):
        background.start("part", work)
        await asyncio.wait_for(up.wait(), 60)
    assert failures == ["part", "part"]
    assert shown == ["OSError: broken"] * 2
    assert background.failing == {}
    await background.stop()


async def test_a_part_that_just_ends_is_started_again() -> None:
    runs = 0
    enough = asyncio.Event()

    async def work() -> None:
        nonlocal runs
        runs += 1
        if runs == 3:
            enough.set()

    background = Background(lambda _: None, restart_pause_s=0)
    background.start("part", work)
    await asyncio.wait_for(enough.wait(), 60)
    await background.stop()


async def test_a_part_that_does_not_stop_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    running, cancelled, release = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def stubborn() -> None:
        running.set()
        try:
            await release.wait()
        except asyncio.CancelledError:
            cancelled.set()
            await release.wait()
            raise

    background = Background(lambda _: None, stop_deadline_s=0.01)
    background.start("stubborn", stubborn)
    await running.wait()
    (task,) = (t for t in asyncio.all_tasks() if t.get_name() == "stubborn")
    await background.stop()
    assert cancelled.is_set()
    assert "stubborn did not stop" in caplog.text
    release.set()
    await asyncio.wait({task}, timeout=60)
    assert task.cancelled()


async def test_every_calls_again_and_again() -> None:
    calls = 0
    enough = asyncio.Event()

    def action() -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            enough.set()

    task = asyncio.create_task(every(0, action)())
    await asyncio.wait_for(enough.wait(), 60)
    task.cancel()
    await asyncio.wait({task})
