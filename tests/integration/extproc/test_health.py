"""The health service on both ports."""

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from epp.extproc.aio.health import LIVENESS, READINESS_NAMES

from .conftest import Answering, running_door

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


async def check(port: int, name: str) -> int:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        answer = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service=name))
        return answer.status


async def test_health_names_on_both_ports(destination: Answering) -> None:
    async with running_door(destination) as door:
        for port in (door.ports.health, door.ports.grpc):
            for name in (*READINESS_NAMES, LIVENESS):
                assert await check(port, name) == SERVING
        door.server.set_ready(False)
        for name in READINESS_NAMES:
            assert await check(door.ports.health, name) == NOT_SERVING
        assert await check(door.ports.health, LIVENESS) == SERVING
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await check(door.ports.health, "unknown")
        assert raised.value.code() is grpc.StatusCode.NOT_FOUND


async def test_health_can_be_watched(destination: Answering) -> None:
    request = health_pb2.HealthCheckRequest(service="readiness")
    async with (
        running_door(destination) as door,
        grpc.aio.insecure_channel(f"127.0.0.1:{door.ports.health}") as channel,
    ):
        watch = health_pb2_grpc.HealthStub(channel).Watch(request)
        assert (await watch.read()).status == SERVING
        door.server.set_ready(False)
        assert (await watch.read()).status == NOT_SERVING
        watch.cancel()
