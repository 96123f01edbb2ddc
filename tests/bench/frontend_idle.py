"""Memory of streams that are open and silent."""

import asyncio
import contextlib
from pathlib import Path

from tests.bench.frontend_stage import Relay
from tests.bench.picker import UnreadMeter

_DEADLINE_S = 60.0
_PAUSE_MS = 600_000
_AT_ONCE = 200
_KIB = 1024


class _FirstPiece(UnreadMeter):
    """Tells when a response has begun."""

    def __init__(self, begun: asyncio.Event) -> None:
        super().__init__(0.0)
        self._begun = begun

    def feed(self, data: bytes, now_s: float) -> None:
        """Only the first counts."""
        super().feed(data, now_s)
        self._begun.set()


def resident_bytes(pid: int) -> int:
    """RSS (proc(5), ``VmRSS``)."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * _KIB
    raise RuntimeError(f"no VmRSS of {pid}")


async def bytes_per_stream(
    relay: Relay, path: str, body: bytes, headers: dict[str, str], streams: int
) -> float:
    """What one more open stream adds to the relay's RSS, after one event of it has passed."""
    request = relay.client.request(path, body, headers | {"x-events": "2", "x-pause-ms": str(_PAUSE_MS)})
    before = resident_bytes(relay.pid)
    slots = asyncio.Semaphore(_AT_ONCE)
    open_: list[asyncio.Task[None]] = []

    async def begin() -> None:
        async with slots:
            begun = asyncio.Event()
            open_.append(asyncio.create_task(relay.client.post(request, _FirstPiece(begun))))
            await begun.wait()

    try:
        async with asyncio.timeout(_DEADLINE_S), asyncio.TaskGroup() as group:
            for _ in range(streams):
                group.create_task(begin())
        return (resident_bytes(relay.pid) - before) / streams
    finally:
        for task in open_:
            task.cancel()
        for task in open_:
            with contextlib.suppress(asyncio.CancelledError):
                await task
