"""An engine that forgets: a cache reset, and a restart."""

import asyncio
import json
import urllib.request

from .conftest import Engines, StageFor
from .prompts import blocks
from .server import BLOCK_TOKENS
from .stage import Stage, eventually


async def test_a_reset_empties_the_view_with_the_next_request(engines: Engines, stage_for: StageFor) -> None:
    """vLLM announces a reset with the next step, so the first promise after it is one too many."""
    prompt, other = blocks("reset", 4), blocks("reset other", 2)
    async with stage_for(engines.wide) as stage:
        await stage.complete(prompt)
        await stage.settled("wide", prompt)
        await asyncio.to_thread(_reset, engines.wide.url)
        await stage.complete(other)
        await stage.settled("wide", other)
        assert (await stage.resident(prompt))["wide"] == 0
        again = await stage.complete(prompt)
        assert (again.predicted, again.reported) == (0, 0)
        await stage.settled("wide", prompt)
        again = await stage.complete(prompt)
        assert (again.predicted, again.reported) == (4 * BLOCK_TOKENS, 4 * BLOCK_TOKENS)


async def test_a_restart_drops_the_view_and_it_is_learnt_anew(engines: Engines, stage_for: StageFor) -> None:
    prompt, first = blocks("restart", 6), blocks("after", 3)
    async with stage_for(engines.small) as stage:
        await stage.complete(prompt)
        await stage.settled("small", prompt)
        await asyncio.to_thread(engines.small.stop)
        engines.small.start()
        await asyncio.to_thread(engines.small.healthy)
        await eventually(lambda: _restarts(stage), "the view was dropped for a restart")
        assert (await stage.resident(prompt))["small"] == 0
        for one in (first, prompt):
            fresh = await stage.complete(one)
            assert (fresh.predicted, fresh.reported) == (0, 0)
            await stage.settled("small", one)
        again = await stage.complete(prompt)
        assert (again.predicted, again.reported) == (6 * BLOCK_TOKENS, 6 * BLOCK_TOKENS)


async def _restarts(stage: Stage) -> bool:
    dropped = await stage.samples("epp_kv_event_views_dropped_total")
    up = await stage.samples("epp_kv_event_connected_ranks")
    return sum(v for name, v in dropped.items() if "restart" in name) >= 1 and up[""] == 1


def _reset(url: str) -> None:
    request = urllib.request.Request(f"{url}/reset_prefix_cache", b"", method="POST")
    with urllib.request.urlopen(request, timeout=10) as answer:
        text = answer.read()
        assert not text or json.loads(text).get("success", True), text
