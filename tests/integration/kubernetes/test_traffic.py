"""Traffic through real Envoys while the pods of a pool come and go: nothing reaches a pod that is gone.

Every address that a pod ever had answers to the end, so that a misroute would be served, and seen.
"""

import asyncio
import sys
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from epp.testing.backend import EchoBackend
from epp.testing.envoy import EnvoyProcess
from epp.testing.envoy_config import EnvoyOptions, Upstream
from epp.testing.kubeapi.objects import BINDINGS, NAMESPACES, POOLS, ROLES, namespace
from epp.testing.kubeapi.server import ApiServer
from epp.testing.process import ChildProcess
from tests.integration.kubernetes.fleet import Fleet
from tests.integration.kubernetes.timeline import Absence, Exchange, Sight, Timeline
from tests.integration.kubernetes.traffic import Traffic, listening, received
from tests.manifests.built import one

_PER_STEP: Final = 2
"""Requests between two changes of the fleet."""
_IN_THE_OUTAGE: Final = 60
"""Requests while the API server is away."""
_ADDRESSES: Final = [f"127.81.{i // 64}.{i % 64 + 1}" for i in range(128)]
_FIRST, _SECOND = "llm", "other"
_ACCOUNTS: Final = "/api/v1/namespaces/llm/serviceaccounts"
_PICKER: Final = ("--grpc-port=0", "--grpc-health-port=0", "--metrics-port=0", "--secure-serving=false")


@pytest.fixture
def shipped(server: ApiServer) -> Path:
    """The account, the rights and the pool as they are shipped; settings with a token of that account."""
    admin = server.admin
    admin.create(NAMESPACES, namespace("llm"))
    for path, kind in ((_ACCOUNTS, "ServiceAccount"), (ROLES, "Role"), (BINDINGS, "RoleBinding")):
        admin.create(path.format("llm"), one("base", kind))
    admin.create(POOLS.format("llm"), one("overlays/istio", "InferencePool"))
    asked: dict[str, Any] = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {},
    }
    token = admin.call("POST", f"{_ACCOUNTS}/epp/token", asked)["status"]["token"]
    return server.kubeconfig("traffic", {"token": token})


@dataclass
class Scene:
    """Everything that runs."""

    server: ApiServer
    servers: dict[str, EchoBackend]
    fleet: Fleet
    traffic: Traffic
    pages: httpx.AsyncClient

    async def do(self, writes: Callable[[], None]) -> None:
        """Blocking calls, while the traffic flows on."""
        await asyncio.to_thread(writes)

    async def says(self, words: str) -> bool:
        """Whether the picker's readiness details have the words."""
        return words in (await self.pages.get("/readyz?verbose")).text

    async def until_said(self, words: str, *, said: bool = True) -> None:
        async with asyncio.timeout(60):
            while await self.says(words) != said:
                await asyncio.sleep(0.02)

    async def look(self) -> frozenset[str]:
        """The addresses that the picker picks from."""
        asked_s = time.monotonic()
        page = (await self.pages.get("/debug/workers")).json()
        addresses = frozenset(worker["endpoint"].rpartition(":")[0] for worker in page["workers"])
        self.fleet.timeline.saw(Sight(asked_s, time.monotonic(), addresses))
        return addresses

    @asynccontextmanager
    async def watched(self) -> AsyncGenerator[None, None]:
        """Within, the picker is looked at again and again."""

        async def watch() -> None:
            while True:
                await self.look()
                await asyncio.sleep(0.01)

        async with asyncio.TaskGroup() as tasks:
            watching = tasks.create_task(watch())
            yield
            watching.cancel()

    async def until_heard(self) -> set[str]:
        """Until the picker picks from those who serve; who they are."""
        async with asyncio.timeout(60):
            while await self.look() != self.fleet.serving:
                await asyncio.sleep(0.01)
        return self.fleet.serving

    async def requests(self, count: int) -> None:
        """Until so many were sent from now on, and answered."""
        await self.do(lambda: self.traffic.wait_for(count))

    async def outage(self) -> tuple[float, float]:
        """The API server is killed and started again; pods change before the picker has found that out.
        From when to when nobody was there to ask."""
        began_s = time.monotonic()
        await self.server.kill()
        try:
            await self.until_said("Kubernetes API at")
            await self.requests(_IN_THE_OUTAGE)
        finally:
            down_s = time.monotonic()
            await self.server.start()
        await self.do(lambda: self.fleet.churn(_FIRST, steps=40, size=24))
        await self.until_said("Kubernetes API at", said=False)
        return began_s, down_s

    def misroutes(self, absences: list[Absence]) -> list[tuple[Absence, Exchange]]:
        """Requests served where nobody was, and known not to be."""
        by_number = {exchange.number: exchange for exchange in self.traffic.exchanges}
        served = {address: received(server) for address, server in self.servers.items()}
        return [
            (absence, by_number[number])
            for absence in absences
            for number in served[absence.address]
            if absence.covers(by_number[number])
        ]

    def numbers(self, from_s: float, until_s: float) -> set[int]:
        """Of the requests that lie between."""
        return {
            each.number for each in self.traffic.exchanges if from_s < each.sent_s and each.ended_s < until_s
        }

    def shown(self, absences: list[Absence]) -> int:
        """In how many of them a request could have been misrouted."""
        return sum(any(absence.covers(each) for each in self.traffic.exchanges) for absence in absences)


@asynccontextmanager
async def _scene(server: ApiServer, kubeconfig: Path, folder: Path) -> AsyncGenerator[Scene, None]:
    async with AsyncExitStack() as stack:
        servers = await stack.enter_async_context(listening(_ADDRESSES))
        port = servers[_ADDRESSES[0]].port
        fleet = Fleet(server.admin, _ADDRESSES, _FIRST, port)
        fleet.open_pool()
        fleet.grow(_FIRST, 24)
        fleet.grow(_SECOND, 12)
        argv = [sys.executable, "-m", "epp", "serve", "--pool-name=llm", "--pool-namespace=llm"]
        argv += [f"--kubeconfig={kubeconfig}", "--no-scrape-metrics", *_PICKER]
        picker = await stack.enter_async_context(ChildProcess("picker", argv, folder / "picker.log"))
        pages = httpx.AsyncClient(base_url=f"http://127.0.0.1:{picker.ready['metrics_port']}", timeout=60)
        endpoints = [f"{address}:{port}" for address in _ADDRESSES]
        header = EnvoyOptions(pickers=[picker.ready["grpc_port"]])
        metadata = replace(header, upstream=Upstream.OVERRIDE_HOST, endpoints=endpoints)
        envoys = [await stack.enter_async_context(EnvoyProcess(each)) for each in (header, metadata)]
        traffic = Traffic([envoy.port for envoy in envoys])
        fleet.paced = lambda: traffic.wait_for(_PER_STEP)
        scene = Scene(server, servers, fleet, traffic, await stack.enter_async_context(pages))
        async with asyncio.timeout(60):
            while (await scene.pages.get("/readyz")).status_code != 200:
                await asyncio.sleep(0.02)
        yield scene


@pytest.mark.envoy
@pytest.mark.slow
@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.timeout(1500)
async def test_nothing_reaches_a_pod_that_is_gone(server: ApiServer, shipped: Path, tmp_path: Path) -> None:
    """Hundreds of pods churn, the API server is killed and comes back, the pool selects other pods."""
    async with _scene(server, shipped, tmp_path) as scene:
        fleet = scene.fleet
        async with scene.traffic.flowing(), scene.watched():
            await scene.do(lambda: fleet.churn(_FIRST, steps=400, size=24))
            known = await scene.until_heard()
            down = await scene.outage()
            await scene.do(lambda: fleet.churn(_FIRST, steps=100, size=24))
            await scene.do(lambda: fleet.switch(_SECOND))
            await scene.do(lambda: fleet.churn(_SECOND, steps=250, size=12))
            await scene.until_heard()
            await scene.requests(_IN_THE_OUTAGE)

        failed = [exchange for exchange in scene.traffic.exchanges if exchange.outcome != "200"]
        assert not failed, "somebody was Ready all the time"
        absences = list(fleet.timeline.absences(_ADDRESSES))
        assert not scene.misroutes(absences)
        within = scene.numbers(*down)
        there = {address for address, each in scene.servers.items() if received(each) & within}
        assert len(within) >= _IN_THE_OUTAGE / 2
        assert there <= known, "while the API server is away those serve on who did"
        assert fleet.made >= 200
        assert scene.shown(absences) >= 100, "many addresses were empty long enough for a misroute to show"
        assert sum(bool(each.received) for each in scene.servers.values()) >= 64


def test_what_counts_as_a_misroute() -> None:
    timeline = Timeline()
    timeline.note("a", serves=True, began_s=10, done_s=11)
    timeline.note("a", serves=False, began_s=20, done_s=21)
    timeline.note("a", serves=False, began_s=22, done_s=23)
    timeline.note("a", serves=True, began_s=30, done_s=31)
    timeline.note("a", serves=False, began_s=31, done_s=32)
    timeline.note("a", serves=True, began_s=32.5, done_s=33)
    timeline.note("a", serves=False, began_s=41, done_s=42)
    for asked_s, named in ((20.5, ""), (21.1, "a"), (21.9, ""), (24, "a"), (25, ""), (28, ""), (32.1, "a")):
        timeline.saw(Sight(asked_s, asked_s + 0.1, frozenset(named)))

    def misrouted(sent_s: float, ended_s: float) -> bool:
        request = Exchange(0, sent_s, ended_s, "200")
        return any(absence.covers(request) for absence in timeline.absences(["a"]))

    assert misrouted(5, 6), "before anybody was there"
    assert not misrouted(5, 11), "it may have been served at the end"
    assert not misrouted(20.7, 20.8), "it was not gone yet, whatever the picker said"
    assert not misrouted(22.1, 23), "the picker had heard of it only, and named it again"
    assert misrouted(25.2, 25.9)
    assert misrouted(29, 29.9)
    assert not misrouted(32.2, 32.4), "the picker did not know"
    assert not misrouted(50, 51), "nor here"
    timeline.saw(Sight(52, 53, frozenset("b")))
    assert not misrouted(52.9, 54)
    assert misrouted(53.1, 54)
    assert any(absence.covers(Exchange(0, 1, 2, "200")) for absence in timeline.absences(["never"]))
