"""Going away without losing a request."""

import asyncio
from contextlib import AbstractAsyncContextManager

import grpc
import httpx
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from epp.testing.backend import EchoBackend
from epp.testing.envoy_config import EnvoyOptions

from .conftest import Answering, Door, running_door, staged, until


def _door(destination: Answering) -> AbstractAsyncContextManager[Door]:
    """Far more quiet than a busy machine makes by itself."""
    return running_door(destination, quiet_s=1.0)


@pytest.mark.envoy
async def test_a_drain_under_load_loses_no_request(backend: EchoBackend, destination: Answering) -> None:
    """Two pickers; one leaves while requests run through both, long answers among them."""
    stop = asyncio.Event()
    results: list[tuple[int, int]] = []

    async def load(client: httpx.AsyncClient, events: str) -> None:
        while not stop.is_set():
            headers = {"x-events": events, "x-pause-ms": "30"}
            response = await client.post("/", content=b"x" * 2000, headers=headers)
            results.append((response.status_code, response.text.count("data:") - int(events)))

    async with _door(destination) as leaving, _door(destination) as staying:
        options = EnvoyOptions([leaving.ports.grpc, staying.ports.grpc], health_interval_s=0.1)
        async with staged(leaving, options) as stage:
            loads = [asyncio.create_task(load(stage.client, events)) for events in ["2"] * 12 + ["200"] * 4]
            await until(lambda: len(leaving.engine.requests) > 20 and len(staying.engine.requests) > 20)
            await leaving.server.drain(60.0)
            asked = len(leaving.engine.requests)
            seen = len(results)
            await until(lambda: len(results) > seen + 20)
            stop.set()
            await asyncio.gather(*loads)
            assert set(results) == {(200, 0)}
            assert len(leaving.engine.requests) == asked
            assert leaving.engine.unfinished == 0
            assert leaving.metrics.counts["finished detached"] > 0


@pytest.mark.envoy
async def test_a_drain_ends_early_when_nothing_runs(destination: Answering) -> None:
    async with running_door(destination, quiet_s=0.05) as door:
        loop = asyncio.get_running_loop()
        await asyncio.wait_for(door.server.drain(60.0), timeout=60)
        assert loop.is_running()
        with pytest.raises(grpc.aio.AioRpcError):
            async with grpc.aio.insecure_channel(f"127.0.0.1:{door.ports.grpc}") as channel:
                await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=60)
