"""The standalone set as processes: its arguments, environment, rights and Envoy; we play the kubelet."""

import asyncio
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from epp.testing.backend import EchoBackend
from epp.testing.envoy import EnvoyProcess
from epp.testing.kubeapi.objects import PODS, pod, status
from epp.testing.kubeapi.server import ApiServer
from epp.testing.process import ChildProcess
from tests.manifests.built import one
from tests.manifests.conftest import TOKENS
from tests.manifests.envoy_files import BESIDE, MANIFESTS
from tests.manifests.test_apiserver import collection

_ANYWHERE = "127.0.0.1:0"


@pytest.fixture
def granted(api_server: ApiServer, namespaces: None) -> Iterator[None]:
    """The rights of the set, and a pod that a worker would be."""
    made = [one("standalone", kind) for kind in ("Role", "RoleBinding")]
    for thing in made:
        api_server.admin.create(collection(thing), thing)
    pods = PODS.format("llm")
    api_server.admin.create(pods, pod("worker-0", {"inference-pool": "llm"}))
    api_server.admin.patch(f"{pods}/worker-0/status", status(("127.0.0.1",)))
    yield
    api_server.admin.delete(f"{pods}/worker-0")
    for thing in made:
        api_server.admin.delete(f"{collection(thing)}/{thing['metadata']['name']}")


@pytest.mark.envoy
@pytest.mark.usefixtures("granted")
async def test_a_request_reaches_a_pod(api_server: ApiServer, tmp_path: Path) -> None:
    async with EchoBackend() as worker, _picker(api_server, tmp_path, worker.port) as picker:
        options = replace(BESIDE, pickers=[picker.ready["grpc_port"]], listen=_ANYWHERE, admin=_ANYWHERE)
        pages = f"http://127.0.0.1:{picker.ready['metrics_port']}"
        async with EnvoyProcess(options) as envoy, httpx.AsyncClient(timeout=60) as client:
            await _ready(client, f"{pages}/readyz")
            body = {"model": "Qwen/Qwen3-0.6B", "prompt": "hello"}
            answer = await client.post(f"http://127.0.0.1:{envoy.port}/v1/completions", json=body)
            assert answer.status_code == 200, answer.text
            assert answer.json()["port"] == worker.port


async def _ready(client: httpx.AsyncClient, page: str) -> None:
    async with asyncio.timeout(60):
        while (await client.get(page)).status_code != 200:
            await asyncio.sleep(0.02)


def _picker(server: ApiServer, folder: Path, port: int) -> ChildProcess:
    """As the container starts, but for its ports, the place of its settings, and the workers' port."""
    container = one("standalone", "Deployment")["spec"]["template"]["spec"]["containers"][0]
    environment = {entry["name"]: entry["value"] for entry in container["env"] if "value" in entry}
    config = server.kubeconfig("standalone", {"token": next(iter(TOKENS))})
    settings = folder / "settings.yaml"
    settings.write_text((MANIFESTS / "base" / "settings.yaml").read_text())
    arguments = [text.replace("/etc/epp/settings.yaml", str(settings)) for text in container["args"]]
    free = [f"--{name}-port=0" for name in ("grpc", "grpc-health", "metrics")]
    here = {
        "EPP_ENDPOINT_TARGET_PORTS": str(port),
        "HF_HOME": str(folder),
        "HF_HUB_OFFLINE": "1",
        "KUBECONFIG": str(config),
        "POD_NAMESPACE": "llm",
    }
    argv = [sys.executable, "-m", "epp", *arguments, *free, "--bind-address=127.0.0.1", "--no-scrape-metrics"]
    return ChildProcess("picker", argv, folder / "picker.log", environment={**environment, **here})
