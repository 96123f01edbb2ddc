"""NGINX Gateway Fabric's client of pickers: the process beside NGINX that its njs module asks over HTTP.

NGINX itself is left out: the test sends what njs would (``internal/controller/nginx/modules/src/epp.js``),
and goes where the answer says.
"""

import asyncio
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import msgspec
import pytest
import pytest_asyncio

from tests.interop.gateways import charts, network, programs
from tests.interop.gateways.cluster import Cluster
from tests.interop.gateways.network import PodNetwork
from tests.interop.gateways.stage import MODEL, Stage
from tests.manifests.built import parse

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(programs.source("nginx-gateway-fabric") is None, reason="EPP_NGF_SOURCE is not set"),
]
_CALL_S = 60
_CURL = ("curl", "--silent", "--include", "--max-time", str(_CALL_S), "--retry", "20", "--retry-connrefused")
_BESIDE_NGINX = 200
"""Number of the pod, far from those the cluster gives."""


@dataclass(frozen=True, slots=True)
class Shim:
    """Their process in a pod's network."""

    pod: PodNetwork
    picker: str
    """Address of the picker's Service."""

    async def ask(self, body: object) -> tuple[int, str]:
        """Status, and the destination."""
        told = {"X-EPP-Host": self.picker, "X-EPP-Port": "9002", "Content-Type": "application/json"}
        heads = [word for name, value in told.items() for word in ("--header", f"{name}: {value}")]
        argv = (*self.pod.enter, *_CURL, *heads, "--data-binary", "@-", "http://127.0.0.1:54800")
        sent = msgspec.json.encode(body)
        done = await asyncio.to_thread(
            subprocess.run, argv, input=sent, capture_output=True, check=True, timeout=2 * _CALL_S
        )
        status, *lines = done.stdout.decode().partition("\r\n\r\n")[0].split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines)
        return int(status.split(" ")[1]), headers.get("X-Gateway-Destination-Endpoint", "")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Stage:
    made = Stage(cluster)
    theirs = programs.source("nginx-gateway-fabric")
    assert theirs is not None
    for file in sorted((theirs / "config" / "crd" / "bases").glob("*.yaml")):
        made.objects.apply(parse(file.read_text()))
    made.objects.apply(charts.definitions(charts.envoy_gateway(tmp_path_factory.mktemp("chart"))))
    await made.overlay("nginx-gateway-fabric", provisioned=False)
    return made


@pytest.fixture(scope="module")
def shim(stage: Stage) -> Iterator[Shim]:
    service = stage.objects.get("/api/v1/namespaces/llm/services/epp")
    pod = network.join(_BESIDE_NGINX)
    log = stage.cluster.folder / "shim.log"
    with log.open("wb") as output:
        argv = (*pod.enter, str(programs.from_source("nginx-gateway-fabric")), "endpoint-picker")
        process = subprocess.Popen(argv, stdout=output, stderr=output)
    try:
        yield Shim(pod, service["spec"]["clusterIP"])
    finally:
        process.kill()
        process.wait()
        pod.close()


async def test_it_is_told_where_to_go(stage: Stage, shim: Shim) -> None:
    async with httpx.AsyncClient() as client:
        for number in range(20):
            body = {"model": MODEL, "messages": [{"role": "user", "content": f"question {number}"}]}
            status, destination = await shim.ask(body)
            assert status == 200
            answer = await client.post(
                f"http://{destination}/v1/chat/completions", json={**body, "max_tokens": 2}
            )
            assert stage.served_by(answer) == destination
            (newest, *_) = await stage.picks(client, 1)
            assert newest["endpoint"] == destination
            assert newest["model"] == MODEL  # read from the body, though the path was not told
            assert newest["prompt_tokens"] > 0
