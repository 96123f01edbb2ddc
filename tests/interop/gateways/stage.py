"""A gateway and one of our overlays in a cluster: put there, driven, and read."""

import asyncio
import subprocess
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import httpx

from tests.interop.gateways.cluster import TICK_S, WAIT_S, Cluster
from tests.interop.gateways.objects import Object
from tests.interop.gateways.pods import Pod
from tests.manifests.built import parse
from tests.manifests.envoy_files import MANIFESTS
from tests.manifests.programs import render

_ASK_S: Final = 120.0
_OWNED: Final = "gateway.envoyproxy.io%2Fowning-gateway-name"
_ROUTES: Final = "/apis/gateway.networking.k8s.io/v1/namespaces/llm"
CONTROL: Final = "envoy-gateway-system"
MODEL: Final = "Qwen/Qwen3-0.6B"


class Stage:
    """What a test drives and reads."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.objects = cluster.objects
        self.pickers: list[Pod] = []
        self.workers: list[Pod] = []
        self.proxies: list[Pod] = []
        self.control: list[Pod] = []
        self.address = ""
        """Of the Gateway, once it is programmed."""

    async def install(self, charts: Mapping[str, Iterable[Object]]) -> None:
        """Objects of charts by namespace; certificates first, by their jobs; then the Deployments' pods."""
        made = {namespace: list(things) for namespace, things in charts.items()}
        for namespace, things in made.items():
            self.objects.apply([{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}])
            self.objects.apply(things, namespace)
        everything = [thing for things in made.values() for thing in things]
        for job in (thing for thing in everything if thing["kind"] == "Job"):
            for pod in self.cluster.run(job):
                await self._finished(pod)
        for deployment in (thing for thing in everything if thing["kind"] == "Deployment"):
            self.control += self.cluster.run(deployment)
        await self.cluster.ready(*self.control)

    async def overlay(self, name: str, *, provisioned: bool = True) -> None:
        """Apply one of ours as shipped, with workers, and run its pods; ``provisioned``: and the Envoy that
        the control plane makes for its Gateway."""
        folders = (MANIFESTS / "overlays" / name, MANIFESTS / "workers" / "vllm" / "aggregated")
        things = [thing for folder in folders for thing in parse(render(folder))]
        self.objects.apply(things)
        deployments = {thing["metadata"]["name"]: thing for thing in things if thing["kind"] == "Deployment"}
        self.pickers = self.cluster.run(deployments["epp"])
        self.workers = self.cluster.run(deployments["vllm"])
        if provisioned:
            await self._provision()
        await self.cluster.ready(*self.workers, *self.pickers, *self.proxies)
        if provisioned:
            await self.until(self._programmed, "the Gateway is programmed")

    async def until(self, met: Callable[[], bool], what: str) -> None:
        """Poll; a control plane that ended meanwhile fails the test."""
        try:
            async with asyncio.timeout(WAIT_S):
                while not met():
                    for pod in self.control:
                        pod.check()
                    await asyncio.sleep(TICK_S)
        except TimeoutError:
            raise AssertionError(f"not within {WAIT_S:g} s: {what}") from None

    async def ask(
        self, client: httpx.AsyncClient, text: str, headers: Mapping[str, str] | None = None, **more: Any
    ) -> httpx.Response:
        """One chat completion through the gateway's address."""
        body = {"model": MODEL, "max_tokens": 2, "messages": [{"role": "user", "content": text}], **more}
        url = f"http://{self.address}/v1/chat/completions"
        return await client.post(url, json=body, headers=headers, timeout=_ASK_S)

    def served_by(self, answer: httpx.Response) -> str:
        """``ip:port`` of the worker that answered; its engine says who it is."""
        name = answer.headers["x-served-by"].rpartition("-")[0]
        (pod,) = (pod for pod in self.workers if pod.name == name)
        return f"{pod.network.address}:8000"

    async def picks(self, client: httpx.AsyncClient, count: int = 512) -> list[dict[str, Any]]:
        """The last decisions of all pickers, newest first."""
        found: list[dict[str, Any]] = []
        for picker in self.pickers:
            url = f"http://{picker.network.address}:9090/debug/picks?n={count}"
            found += (await client.get(url, timeout=_ASK_S)).json()
        return sorted(found, key=lambda pick: pick["at_unix_s"], reverse=True)

    def config_of(self, proxy: Pod) -> str:
        """What an Envoy has for its configuration, as its admin page shows it to its own pod."""
        argv = (*proxy.network.enter, "curl", "--silent", "http://127.0.0.1:19000/config_dump")
        return subprocess.run(argv, capture_output=True, text=True, check=True, timeout=_ASK_S).stdout

    async def _finished(self, pod: Pod) -> None:
        ((name, process),) = pod.processes.items()
        await self.until(lambda: process.poll() is not None, f"{pod.name} ends")
        assert process.returncode == 0, pod.log(name).read_text()
        self.cluster.remove(pod)

    async def _provision(self) -> None:
        """Run the Envoys that the control plane asks for, and say that they are available."""
        path = f"/apis/apps/v1/namespaces/{CONTROL}/deployments"
        found: list[Object] = []

        def asked() -> bool:
            found[:] = self.objects.get(f"{path}?labelSelector={_OWNED}")["items"]
            return bool(found)

        await self.until(asked, "the control plane makes a Deployment")
        for deployment in found:
            made = self.cluster.run(deployment)
            self.proxies += made
            counts = {f"{word}Replicas": len(made) for word in ("ready", "available", "updated")}
            status = {"status": {"replicas": len(made), "observedGeneration": 1, **counts}}
            self.objects.admin.patch(f"{path}/{deployment['metadata']['name']}/status", status)

    def _programmed(self) -> bool:
        """Whether the Gateway has an address, and the route is accepted with all it refers to."""
        gateway = self.objects.get(f"{_ROUTES}/gateways/inference-gateway")["status"]
        route = self.objects.get(f"{_ROUTES}/httproutes/llm").get("status", {})
        self.address = next((at["value"] for at in gateway.get("addresses", ())), "")
        wanted = [(gateway, "Programmed")]
        wanted += [
            (parent, word) for parent in route.get("parents", ()) for word in ("Accepted", "ResolvedRefs")
        ]
        return bool(self.address) and len(wanted) > 1 and all(_is_true(*row) for row in wanted)


def _is_true(status: Object, condition: str) -> bool:
    rows = status.get("conditions", ())
    return any(row["type"] == condition and row["status"] == "True" for row in rows)
