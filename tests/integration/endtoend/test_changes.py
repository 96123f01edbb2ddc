"""Engines that die, leave and come back; pickers that leave under load."""

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest

from epp.testing.ports import HeldPort

from .conftest import DRAWS, Picker, ask, chat, prose, staged, until

pytestmark = pytest.mark.envoy


async def resident(picker: Picker) -> dict[str, int]:
    page = await picker.page("/debug/workers")
    return {worker["name"]: worker["resident_blocks"] for worker in page["workers"]}


async def test_an_engine_dies_comes_back_and_leaves(tmp_path: Path, model_dir: Path) -> None:
    async with staged(tmp_path, model_dir) as stage:
        place = stage.stack.enter_context(HeldPort())
        first = await stage.engines("first", 1, "--ports", str(place.port))
        await stage.engines("second", 1)
        picker = await stage.picker("picker")
        client = await stage.gateway([picker])
        await picker.sees(2)
        bodies: list[Any] = []
        while not all((await resident(picker)).values()):
            assert len(bodies) < DRAWS, "one engine got everything"
            bodies.append(chat(prose(60, f"c{len(bodies)}w")))
            await ask(client, bodies[-1], f"before-{len(bodies)}")
            await picker.knows(bodies[-1])

        await first.stop()
        await stage.engines("first", 1, "--ports", str(place.port))  # a new process, events on new ports

        async def emptied() -> bool:
            return (await resident(picker))["first-0"] == 0

        await until(emptied, "the dropped view of the engine that died")
        await picker.sees(2)
        for number, body in enumerate(bodies):
            await ask(client, body, f"after-{number}")

        stage.entries.pop("first")
        stage.publish()

        async def left() -> bool:
            return set(await resident(picker)) == {"second-0"}

        await until(left, "the departure of the engine")
        for number, body in enumerate(bodies):
            await ask(client, body, f"left-{number}")
            assert (await picker.pick(f"left-{number}"))["worker"]["name"] == "second-0"
        assert 'endpoint_name="first-0"' not in await picker.metrics()


async def test_a_picker_leaves_under_load_and_no_request_is_lost(tmp_path: Path, model_dir: Path) -> None:
    async with staged(tmp_path, model_dir) as stage:
        await stage.engines("engine", 2)
        leaving = await stage.picker("leaving", "--drain-timeout", "60s")
        staying = await stage.picker("staying")
        client = await stage.gateway([leaving, staying], health_interval_s=0.1)
        stop = asyncio.Event()
        answers: list[Any] = []
        failures: list[str] = []

        async def load(number: int) -> None:
            for turn in range(100_000):
                if stop.is_set():
                    return
                body = chat(prose(30, f"l{number}t{turn}w"), max_tokens=20)
                try:
                    answer = await client.post("/v1/chat/completions", json=body)
                except httpx.HTTPError as error:
                    failures.append(repr(error))
                    continue
                answers.append(answer.status_code)

        async with asyncio.TaskGroup() as group:
            for number in range(6):
                group.create_task(load(number))

            async def both_served() -> bool:
                picks = [await picker.page("/debug/picks?n=1") for picker in (leaving, staying)]
                return all(picks)

            await until(both_served, "requests through both pickers")
            await leaving.process.stop()
            assert "did not" not in leaving.process.log_tail()
            after = len(answers)

            async def goes_on() -> bool:
                return len(answers) > after + 10

            await until(goes_on, "traffic through the picker that stays")
            stop.set()
        assert failures == []
        assert set(answers) == {200}
