"""A cluster as plain processes: a real API server, a real istiod, and stand-ins for the rest."""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import yaml

from epp.testing.kubeapi.server import ADMIN_TOKEN, ApiServer
from epp.testing.process import log_tail
from epp.testing.vocab import build_model_dir
from tests.interop.istio import programs
from tests.interop.istio.api import Api
from tests.interop.istio.controllers import NODE
from tests.interop.istio.gateway import XDS_PORT
from tests.interop.istio.images import Images, end
from tests.interop.istio.kubelet import Network, Node
from tests.interop.istio.pods import answers

_SYSTEM: Final = "istio-system"
_START_S: Final = 60.0
_POLL_S: Final = 0.05

_PAGES_PORT: Final = 8080
_ENVIRONMENT: Final = {
    "ENABLE_GATEWAY_API_INFERENCE_EXTENSION": "true",
    "PILOT_ENABLE_METADATA_EXCHANGE": "false",  # filters of Istio's own build of Envoy
    "PILOT_ENABLE_ALPN_FILTER": "false",
    "ENABLE_CA_SERVER": "false",
    "PILOT_CERT_PROVIDER": "none",
    "POD_NAMESPACE": _SYSTEM,
    "POD_NAME": "istiod",
    "CLUSTER_ID": "Kubernetes",
}


class IstiodError(Exception):
    """istiod did not start; the text ends with its log."""


@dataclass(frozen=True)
class Stage:
    """What runs."""

    api: Api
    node: Node
    folder: Path
    kubeconfig: Path
    """With all rights."""
    model: Path
    """Of the engines: a tokenizer's folder."""


@asynccontextmanager
async def running(folder: Path) -> AsyncIterator[Stage]:
    """Started, with every definition installed; raises KubeApiError, GoError."""
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(ApiServer(folder))
        api = Api(server)
        await _install(api)
        await api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": _SYSTEM}})
        await api.apply({"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE}})
        kubeconfig = server.kubeconfig("admin", {"token": ADMIN_TOKEN})
        network = Network()
        istiod = network.take()
        await stack.enter_async_context(_istiod(folder, kubeconfig, istiod))
        await _offers_its_class(api)
        model = await asyncio.to_thread(build_model_dir, folder / "model", "tiny")
        node = Node(api, folder, network, Images(api, istiod, model))
        await stack.enter_async_context(node)
        yield Stage(api, node, folder, kubeconfig, model)


async def _install(api: Api) -> None:
    """Every definition, until the API server serves it."""
    made = await asyncio.to_thread(list, programs.definitions())
    for definition in made:
        await api.apply(definition)
    async with asyncio.timeout(_START_S):
        for definition in made:
            spec = definition["spec"]
            for version in (each["name"] for each in spec["versions"] if each["served"]):
                while await api.get(f"/apis/{spec['group']}/{version}/{spec['names']['plural']}") is None:
                    await asyncio.sleep(_POLL_S)


@asynccontextmanager
async def _istiod(folder: Path, kubeconfig: Path, address: str) -> AsyncIterator[None]:
    """Istio's control plane on an address of its own, so that its ports are free."""
    program = await asyncio.to_thread(programs.istiod)
    (folder / "mesh.yaml").write_text("enableAutoMtls: false  # no agents that hold certificates\n")
    await asyncio.to_thread(_write_templates, folder / "var" / "lib" / "istio" / "inject")
    options = {
        "kubeconfig": kubeconfig,
        "meshConfig": folder / "mesh.yaml",
        "grpcAddr": f"{address}:{XDS_PORT}",
        "httpAddr": f"{address}:{_PAGES_PORT}",
        "monitoringAddr": f"{address}:15014",
        "httpsAddr": "",
        "secureGRPCAddr": "",
        "ctrlz_port": 0,
    }
    with (folder / "istiod.log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            program,
            "discovery",
            *(f"--{name}={value}" for name, value in options.items()),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**os.environ, **_ENVIRONMENT},
            cwd=folder,
        )
    try:
        await _serves(process, f"http://{address}:{_PAGES_PORT}/ready", folder / "istiod.log")
        yield
    finally:
        await end(process)


async def _serves(process: asyncio.subprocess.Process, page: str, log: Path) -> None:
    async with asyncio.timeout(_START_S):
        while not await answers(page):
            if process.returncode is not None:
                raise IstiodError(f"istiod ended: {log_tail(log)}")
            await asyncio.sleep(_POLL_S)


async def _offers_its_class(api: Api) -> None:
    """istiod is ready a moment before the class of gateways that it makes by itself; the suite asks once."""
    async with asyncio.timeout(_START_S):
        while await api.get("/apis/gateway.networking.k8s.io/v1/gatewayclasses/istio") is None:
            await asyncio.sleep(_POLL_S)


def _write_templates(folder: Path) -> None:
    """What istiod makes a gateway's pods of: its chart's template and values, as Helm hands them."""
    folder.mkdir(parents=True)
    charts = programs.charts()
    values = yaml.safe_load((charts / "values.yaml").read_text())
    template = (charts / "files" / "kube-gateway.yaml").read_text()
    config = {"policy": "enabled", "templates": {"kube-gateway": template}}
    (folder / "config").write_text(yaml.safe_dump(config))
    (folder / "values").write_text(json.dumps(values))
