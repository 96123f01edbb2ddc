"""More than the door takes, and as much as it must take."""

import asyncio
import dataclasses
import resource

import httpx
import pytest

from epp.testing.envoy_config import BodyModeName, EnvoyOptions

from .conftest import PLAIN, Answering, Door, Stage, running_door, staged, until

MODES = (BodyModeName.FULL_DUPLEX_STREAMED, BodyModeName.BUFFERED)
_PATIENCE_S = 400.0
"""Thousands of requests at once take a slow machine minutes, most of them in the client."""


@pytest.mark.envoy
@pytest.mark.parametrize("mode", MODES)
async def test_too_many_requests_are_shed_with_retry_after(
    destination: Answering, mode: BodyModeName
) -> None:
    config = dataclasses.replace(PLAIN, max_inflight_requests=1, retry_after_s=3)
    async with (
        running_door(destination, config) as door,
        staged(door, EnvoyOptions((), request_body=mode)) as stage,
    ):
        gate = door.engine.gate = asyncio.Event()
        first = asyncio.create_task(stage.client.post("/", content=b"{}"))
        await until(lambda: len(door.engine.requests) == 1)
        response = await stage.client.post("/", content=b"{}")
        assert (response.status_code, response.headers["retry-after"]) == (429, "3")
        assert response.headers["x-llm-d-request-dropped-reason"] == "rejected-saturated"
        gate.set()
        assert (await first).status_code == 200
        assert (await stage.client.post("/", content=b"{}")).status_code == 200


@pytest.mark.envoy
async def test_too_many_streams_are_refused(destination: Answering) -> None:
    config = dataclasses.replace(PLAIN, max_streams=1)
    async with running_door(destination, config) as door, staged(door, EnvoyOptions(())) as stage:
        gate = door.engine.gate = asyncio.Event()
        first = asyncio.create_task(stage.client.post("/", content=b"{}"))
        await until(lambda: len(door.engine.requests) == 1)
        response = await stage.client.post("/", content=b"{}")
        assert (response.status_code, response.json()["error"]["code"]) == (503, "unavailable")
        gate.set()
        assert (await first).status_code == 200


@pytest.mark.envoy
@pytest.mark.slow
@pytest.mark.timeout(900)
async def test_five_thousand_concurrent_requests(destination: Answering) -> None:
    """All in flight at once: none is answered before the last one was picked for."""
    count = 5000
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard < 4 * count:
        pytest.skip(f"needs {4 * count} open files, the limit is {hard}")
    async with running_door(destination) as door:
        gate = door.engine.gate = asyncio.Event()
        async with staged(door, EnvoyOptions((), downstream_h2=True, message_timeout_s=_PATIENCE_S)) as stage:
            await serve_at_once(stage, door, gate, count)


async def serve_at_once(stage: Stage, door: Door, gate: asyncio.Event, count: int) -> None:
    limits = httpx.Limits(max_connections=None)
    clients = [
        httpx.AsyncClient(
            base_url=stage.client.base_url, http1=False, http2=True, timeout=_PATIENCE_S, limits=limits
        )
        for _ in range(count // 100)
    ]
    try:
        posts = [
            asyncio.create_task(clients[n % len(clients)].post("/", content=b"{}")) for n in range(count)
        ]
        await until(lambda: len(door.engine.requests) == count, _PATIENCE_S)
        assert door.server.open_streams == count
        gate.set()
        assert {response.status_code for response in await asyncio.gather(*posts)} == {200}
        assert set(await door.settled(count, _PATIENCE_S)) == {"completed"}
    finally:
        await asyncio.gather(*(client.aclose() for client in clients))


async def test_a_port_in_use_is_an_oserror(destination: Answering) -> None:
    async with running_door(destination) as door:
        config = dataclasses.replace(PLAIN, grpc_port=door.ports.grpc)
        with pytest.raises(OSError, match=str(door.ports.grpc)):
            async with running_door(destination, config):
                raise AssertionError("two servers on one port")
