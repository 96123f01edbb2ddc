"""A stand-in for a node: every pod has an address of its own on loopback, its containers are processes.

What else a kubelet and a network do is left out: images, mounts at their own places, limits, policies.
"""

import asyncio
import random
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from pathlib import Path
from typing import Self

from epp.testing.kubeapi.server import ApiError
from tests.interop.istio.api import Api, Object
from tests.interop.istio.controllers import NODE, reconcile
from tests.interop.istio.pods import Place, RunningPod, Start, path_of

_ROUND_S = 0.2


class Network:
    """Addresses on loopback that nobody else listens on: one of 50 000 ranges, drawn by chance."""

    def __init__(self) -> None:
        first = f"127.{random.randint(32, 250)}.{random.randint(0, 255)}"
        self._free = deque(f"{first}.{number}" for number in range(1, 255))

    def take(self) -> str:
        """One that has rested longest."""
        return self._free.popleft()

    def give_back(self, address: str) -> None:
        """Its servers have ended."""
        self._free.append(address)


class Node:
    """The controllers and the kubelet, as an async context manager."""

    def __init__(self, api: Api, folder: Path, network: Network, images: Callable[[str], Start]) -> None:
        """``images``: how a container of an image is started."""
        self._api, self._folder, self._network, self._images = api, folder, network, images
        self._loop: asyncio.Task[None] | None = None
        self._pods: dict[str, asyncio.Task[None]] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self.places: dict[str, list[Place]] = {}
        """Of each running pod, by ``namespace/name``."""

    async def __aenter__(self) -> Self:
        self._loop = asyncio.create_task(self._look_after())
        return self

    async def __aexit__(self, *_error: object) -> None:
        """Ends every container; raises what ended the stand-in before."""
        assert self._loop is not None
        tasks = (self._loop, *self._pods.values(), *self._ending)
        for task in tasks:
            task.cancel()
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(result, Exception):
                raise result

    async def _look_after(self) -> None:
        while True:
            with suppress(ApiError):  # somebody else was faster
                await reconcile(self._api)
                await self._adopt()
            self._ending = {task for task in self._ending if not _over(task)}
            await asyncio.sleep(_ROUND_S)

    async def _adopt(self) -> None:
        pods = {pod["metadata"]["uid"]: pod for pod in await self._api.list("/api/v1/pods")}
        for uid, pod in pods.items():
            if uid not in self._pods and pod["spec"].get("nodeName") == NODE:
                self._pods[uid] = asyncio.create_task(self._run(pod))
            elif "deletionTimestamp" in pod["metadata"]:
                await self._api.delete(path_of(pod))
        for uid in [uid for uid in self._pods if uid not in pods]:
            gone = self._pods.pop(uid)
            gone.cancel()
            self._ending.add(gone)

    async def _run(self, pod: Object) -> None:
        name = f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"
        folder = self._folder / name.replace("/", "_")
        folder.mkdir(exist_ok=True)
        address = self._network.take()
        running = RunningPod(self._api, pod, address, folder)
        self.places[name] = running.places
        try:
            await running.run(self._images)
        except ApiError as error:
            if error.status != HTTPStatus.NOT_FOUND:  # else the pod is gone already
                raise
        finally:
            if self.places.get(name) is running.places:
                del self.places[name]
            self._network.give_back(address)


def _over(task: asyncio.Task[None]) -> bool:
    """Whether it has ended; raises what it ended with."""
    if task.done() and not task.cancelled():
        task.result()
    return task.done()
