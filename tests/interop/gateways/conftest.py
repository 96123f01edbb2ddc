"""A cluster of one node per test module, without a gateway."""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from epp.testing.envoy import find_envoy
from epp.testing.kubeapi.build import custom_resources
from epp.testing.kubeapi.server import ApiServer
from tests.interop.gateways import network, programs
from tests.interop.gateways.cluster import Cluster
from tests.interop.gateways.dns import ClusterDns

_TIMEOUT_S = 1200.0


@pytest.hookimpl(tryfirst=True)  # before -m chooses
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test of this folder, and skip them where the pod network is not."""
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.gateways)
            item.add_marker(pytest.mark.envoy)
            item.add_marker(pytest.mark.slow)
            item.add_marker(pytest.mark.timeout(_TIMEOUT_S))
            if not network.ours():
                item.add_marker(pytest.mark.skip("run them by: python -m tests.interop.gateways"))


def _programs() -> dict[str, tuple[str, ...]]:
    """What runs for an image, or for a command of one."""
    python = (sys.executable, "-m")
    envoy, gateway = (find_envoy(),), (str(programs.envoy_gateway()),)
    found = {
        "llm-endpoint-picker": (*python, "epp"),
        "vllm/vllm-openai": (*python, "tests.interop.gateways.worker"),
        "docker.io/envoyproxy/gateway": gateway,
        "envoy-gateway": gateway,
        "docker.io/envoyproxy/envoy": envoy,
        "envoy": envoy,
    }
    if programs.source("ai-gateway"):
        found["docker.io/envoyproxy/ai-gateway-controller"] = (str(programs.from_source("ai-gateway")),)
    return found


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cluster(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cluster]:
    folder = tmp_path_factory.mktemp("kubeapi")
    async with ApiServer(folder, address=network.NODE) as server:
        await server.install(*custom_resources())
        made = Cluster(server, _programs(), tmp_path_factory.mktemp("cluster"))
        dns, _ = await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: ClusterDns(made.services.names), (network.NODE, 53)
        )
        tending = asyncio.create_task(made.tend(), name="cluster")
        try:
            yield made
        finally:
            tending.cancel()
            dns.close()
            made.stop()
            with contextlib.suppress(asyncio.CancelledError):
                await tending
