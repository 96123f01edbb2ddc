"""Readiness probes, asked as a kubelet asks them."""

from typing import Final

import grpc
import httpx
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.interop.gateways.objects import Object

_PROBE_S: Final = 5.0


async def answers(address: str, container: Object) -> bool:
    """Whether the container's readiness probe succeeds; True for one that has none."""
    probe = container.get("readinessProbe", {})
    named = {port.get("name"): port["containerPort"] for port in container.get("ports", ())}
    if "httpGet" in probe:
        said = probe["httpGet"]
        return await _http(f"http://{address}:{named.get(said['port'], said['port'])}{said.get('path', '/')}")
    if "grpc" in probe:
        return await _grpc(f"{address}:{probe['grpc']['port']}", probe["grpc"].get("service", ""))
    return True


async def _http(url: str) -> bool:
    try:
        async with httpx.AsyncClient(timeout=_PROBE_S) as client:
            return (await client.get(url)).is_success
    except httpx.HTTPError:
        return False


async def _grpc(target: str, service: str) -> bool:
    try:
        async with grpc.aio.insecure_channel(target) as channel:
            request = health_pb2.HealthCheckRequest(service=service)
            answer = await health_pb2_grpc.HealthStub(channel).Check(request, timeout=_PROBE_S)
            return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)
    except grpc.aio.AioRpcError:
        return False
