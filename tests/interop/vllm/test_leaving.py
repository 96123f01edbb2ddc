"""Clients that leave in the middle of an answer."""

import asyncio
import json
import urllib.request

from .conftest import Engines, StageFor
from .prompts import blocks
from .stage import Stage, eventually

_LEAVERS = 8


async def test_clients_that_leave_leave_no_booking_behind(engines: Engines, stage_for: StageFor) -> None:
    async with stage_for(engines.wide) as stage:
        await asyncio.gather(*(leave_midway(stage, number) for number in range(_LEAVERS)))
        await eventually(lambda: _idle(stage), "no booking and no request in flight")
        await eventually(lambda: _engine_idle(engines.wide.url), "the engine stopped generating")
        picks = await stage.page(f"/debug/picks?n={_LEAVERS}")
        assert [pick["ended"] is not None for pick in picks] == [True] * _LEAVERS
        row = (await stage.workers())["wide"]
        assert (row["active_requests"], row["active_prefill_tokens"], row["active_decode_blocks"]) == (
            0,
            0,
            0,
        )


async def leave_midway(stage: Stage, number: int) -> None:
    """Read the first event of a long answer, then close the connection."""
    body = {"model": "m", "prompt": blocks(("leaver", number), 5), "max_tokens": 1500}
    data = json.dumps({**body, "stream": True, "ignore_eos": True}).encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", stage.envoy.port)
    try:
        head = f"POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-length: {len(data)}\r\n"
        head += "content-type: application/json\r\n\r\n"
        writer.write(head.encode() + data)
        async with asyncio.timeout(30):
            await reader.readuntil(b"data: ")
        assert await stage.bookings() > 0
    finally:
        writer.transport.abort()


async def _idle(stage: Stage) -> bool:
    page = await stage.page("/debug/workers")
    return bool(page["index"]["bookings"] == 0 and page["in_flight"] == 0)


async def _engine_idle(url: str) -> bool:
    def idle() -> bool:
        with urllib.request.urlopen(f"{url}/metrics", timeout=5) as page:
            lines: list[str] = page.read().decode().splitlines()
        running = [line.split()[-1] for line in lines if line.startswith("vllm:num_requests_running{")]
        return [float(count) for count in running] == [0.0]

    return await asyncio.to_thread(idle)
