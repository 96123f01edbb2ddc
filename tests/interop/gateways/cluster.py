"""A cluster of one node: a real API server, with stand-ins for kubelet, kube-proxy and a few controllers.

There is no scheduler and no deployment controller: a test says which Deployment runs when.
"""

import asyncio
from collections.abc import Mapping
from itertools import count
from pathlib import Path
from typing import Final

from epp.testing.kubeapi.server import ApiServer
from tests.interop.gateways import network
from tests.interop.gateways.objects import Object, Objects
from tests.interop.gateways.pods import Pod, Shared, start
from tests.interop.gateways.services import Services

TICK_S: Final = 0.25
WAIT_S: Final = 240.0
_RESOLV: Final = f"nameserver {network.NODE}\nsearch svc.cluster.local cluster.local\noptions ndots:5\n"


class Cluster:
    """Runs Deployments; keeps readiness and Services up to date while :meth:`tend` runs."""

    def __init__(self, server: ApiServer, programs: Mapping[str, tuple[str, ...]], folder: Path) -> None:
        """``programs``: what to run for an image (without tag) or a command."""
        self.objects = Objects(server.admin)
        self.services = Services(self.objects)
        self.pods: list[Pod] = []
        self.folder = folder
        self._numbers = count()
        self._published: list[Pod] = []
        (folder / "resolv.conf").write_text(_RESOLV)
        self._shared = Shared(
            server.admin, server.port, server.authority.pair.cert, folder / "resolv.conf", programs
        )

    def run(self, deployment: Object) -> list[Pod]:
        """Make and start the pods of a Deployment (or of a Job, which is one pod)."""
        spec, about = deployment["spec"], deployment["metadata"]
        return [
            self._run(spec["template"], about["name"], about["namespace"])
            for _ in range(spec.get("replicas", 1))
        ]

    def _run(self, template: Object, owner: str, namespace: str) -> Pod:
        number = next(self._numbers)
        name = f"{owner}-{number}"
        made: Object = {"apiVersion": "v1", "kind": "Pod", **template}
        made["metadata"] = {**template.get("metadata", {}), "name": name, "namespace": namespace}
        made["spec"] = {**template["spec"], "nodeName": "node"}
        stored = self.objects.admin.call("POST", f"/api/v1/namespaces/{namespace}/pods", made)
        folder = self.folder / name
        folder.mkdir()
        pod = Pod(stored, network.join(number), folder)
        self.pods.append(pod)
        self._report(pod)
        start(pod, self._shared)
        return pod

    def remove(self, pod: Pod) -> None:
        """Kill a pod without a warning, and delete it."""
        pod.kill()
        self.pods.remove(pod)
        self.objects.admin.delete(f"/api/v1/namespaces/{pod.namespace}/pods/{pod.name}")

    def lose(self, pod: Pod) -> None:
        """Kill a pod's processes, unnoticed: it stays in its Services."""
        pod.lost = True
        pod.end()

    def stop(self) -> None:
        """End everything that runs."""
        for pod in self.pods:
            pod.kill()
        self.pods.clear()
        network.publish([])

    async def tend(self) -> None:
        """Until cancelled: probe pods, report what changed, publish Services."""
        while True:
            for pod in [pod for pod in self.pods if not pod.lost]:
                ready = await pod.probe()
                if pod in self.pods and not pod.lost and ready != pod.ready:
                    pod.ready = ready
                    self._report(pod)
            self.services.publish(self.pods)
            self._published = [pod for pod in self.pods if pod.ready]
            await asyncio.sleep(TICK_S)

    def _report(self, pod: Pod) -> None:
        state = "True" if pod.ready else "False"
        status = {
            "phase": "Running",
            "podIP": pod.network.address,
            "podIPs": [{"ip": pod.network.address}],
            "conditions": [{"type": kind, "status": state} for kind in ("Ready", "ContainersReady")],
        }
        path = f"/api/v1/namespaces/{pod.namespace}/pods/{pod.name}/status"
        self.objects.admin.patch(path, {"status": status})

    async def ready(self, *pods: Pod) -> None:
        """Wait until these pods are Ready and behind their Services; one that ended fails the test."""
        async with asyncio.timeout(WAIT_S):
            while not all(pod in self._published for pod in pods):
                for pod in pods:
                    pod.check()
                await asyncio.sleep(TICK_S)
