"""A pod as a kubelet keeps it: its containers run at its address, are probed, and are started again.

Probes are those of the manifests, sooner than they say.
"""

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import grpc.aio
import httpx
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.interop.istio.api import Api, Object
from tests.interop.istio.controllers import NODE

_LOOK_S = 0.2
"""Between two looks at a pod: whether its containers run, and, until they are ready, their probes."""
_LOOKS = 5
"""Of so many looks at a pod that is ready, one goes to its probes."""
_PATIENCE_S = 5.0
_MISSES = 3
"""As many failed probes in a row make a pod unready that was ready."""


class Place:
    """Where a container is started."""

    def __init__(
        self, pod: Object, container: Object, address: str, folder: Path, stack: AsyncExitStack
    ) -> None:
        self.pod, self.container, self.address, self.folder, self.stack = (
            pod,
            container,
            address,
            folder,
            stack,
        )
        self.process: asyncio.subprocess.Process | None = None
        """Of containers that are one."""

    @property
    def environment(self) -> dict[str, str]:
        """The container's variables."""
        return {entry["name"]: self._value(entry) for entry in self.container.get("env", ())}

    def _value(self, entry: Mapping[str, Any]) -> str:
        field = entry.get("valueFrom", {}).get("fieldRef", {}).get("fieldPath")
        metadata = self.pod["metadata"]
        known = {
            "metadata.name": metadata["name"],
            "metadata.namespace": metadata["namespace"],
            "status.podIP": self.address,
            "spec.nodeName": NODE,
        }
        return str(known.get(field, "")) if field else str(entry.get("value", ""))


Start = Callable[[Place], Awaitable[Callable[[], bool]]]
"""Starts a container and returns whether it runs; what it opened is on the place's stack."""


class RunningPod:
    """One pod at its address; :meth:`run` ends with its containers."""

    def __init__(self, api: Api, pod: Object, address: str, folder: Path) -> None:
        self._api, self._pod = api, pod
        self._stack = AsyncExitStack()
        containers = pod["spec"]["containers"]
        self.places = [Place(pod, each, address, folder, self._stack) for each in containers]
        self._address = address
        self._ready = False
        self._missed = 0

    async def run(self, images: Callable[[str], Start]) -> None:
        """Until cancelled, or until the API server knows the pod no more (ApiError)."""
        starts = [images(place.container["image"]) for place in self.places]
        async with self._stack:
            await self._tell(ready=False)
            running = [await start(place) for start, place in zip(starts, self.places, strict=True)]
            for look in itertools.count():
                for index, is_running in enumerate(running):
                    if not is_running():
                        await self._tell(ready=False)
                        running[index] = await starts[index](self.places[index])
                if not self._ready or look % _LOOKS == 0:
                    await self._probe()
                await asyncio.sleep(_LOOK_S)

    async def _probe(self) -> None:
        answered = all([await _is_ready(place) for place in self.places])
        self._missed = 0 if answered else self._missed + 1
        ready = answered or (self._ready and self._missed < _MISSES)
        if ready is not self._ready:
            await self._tell(ready=ready)

    async def _tell(self, *, ready: bool) -> None:
        self._ready = ready
        state = "True" if ready else "False"
        status = {
            "phase": "Running",
            "podIP": self._address,
            "podIPs": [{"ip": self._address}],
            "conditions": [{"type": name, "status": state} for name in ("Ready", "ContainersReady")],
        }
        await self._api.patch(f"{path_of(self._pod)}/status", {"status": status})


def path_of(pod: Object) -> str:
    """Where a pod is."""
    return f"/api/v1/namespaces/{pod['metadata']['namespace']}/pods/{pod['metadata']['name']}"


async def _is_ready(place: Place) -> bool:
    """What the container's readiness probe finds; without one it is ready."""
    probe = place.container.get("readinessProbe", {})
    if "grpc" in probe:
        return await _serving(f"{place.address}:{probe['grpc']['port']}", probe["grpc"].get("service") or "")
    if "httpGet" in probe:
        port = _number(probe["httpGet"]["port"], place.container)
        return await answers(f"http://{place.address}:{port}{probe['httpGet']['path']}")
    return True


def _number(port: int | str, container: Object) -> int:
    named = {each.get("name"): each["containerPort"] for each in container.get("ports", ())}
    return port if isinstance(port, int) else named[port]


async def _serving(target: str, service: str) -> bool:
    async with grpc.aio.insecure_channel(target) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        try:
            answer = await stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=_PATIENCE_S)
        except grpc.aio.AioRpcError:
            return False
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


async def answers(url: str) -> bool:
    """Whether a page is there."""
    async with httpx.AsyncClient(timeout=_PATIENCE_S, verify=False, trust_env=False) as client:
        try:
            return (await client.get(url)).is_success
        except httpx.TransportError:
            return False
