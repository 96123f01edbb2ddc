"""The file watch as it runs: a task, a real file, edits while it looks."""

import asyncio
from collections.abc import Callable
from pathlib import Path

from epp.discovery.file import FileDiscovery

DEADLINE_S = 60.0
ONE = "endpoints: [{name: a, address: 10.0.0.1, port: 8000}]"
TWO = "endpoints: [{name: a, address: 10.0.0.1, port: 8000}, {name: b, address: localhost, port: 8000}]"


async def eventually(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not condition():
            await asyncio.sleep(0.005)


async def test_edits_are_followed_while_running(tmp_path: Path) -> None:
    path = tmp_path / "endpoints.yaml"
    discovery = FileDiscovery(path, 0.01)
    running = asyncio.create_task(discovery.run())
    try:
        await eventually(lambda: discovery.problem is not None)
        path.write_text(ONE)
        await eventually(lambda: len(discovery.snapshot.endpoints) == 1)
        path.write_text("endpoints: [")
        await eventually(lambda: discovery.problem is not None)
        assert len(discovery.snapshot.endpoints) == 1
        path.write_text(TWO)
        await eventually(lambda: len(discovery.snapshot.endpoints) == 2)
        assert discovery.problem is None
        assert not running.done()
    finally:
        running.cancel()
        await asyncio.wait([running])
