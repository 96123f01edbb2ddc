"""A cluster of plain processes under a real istiod (docs/interop.md); opted in with ``-m istio``."""

import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from epp.testing.kubeapi.build import KubeApiError
from epp.testing.kubeapi.gobuild import GoError
from tests.interop.istio import programs
from tests.interop.istio.kubelet import Network
from tests.interop.istio.stage import Stage, running
from tests.manifests.programs import kustomize, missing

_TIMEOUT_S = 1800.0
"""With everything to build on two busy cores."""
_TOLD = pytest.StashKey[list[str]]()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All of them need istiod."""
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.istio)
            item.add_marker(pytest.mark.timeout(_TIMEOUT_S))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Figures."""
    for line in config.stash.get(_TOLD, []):
        terminalreporter.write_line(line)


@pytest.fixture
def tell(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Takes a line for the end of the report."""
    return request.config.stash.setdefault(_TOLD, []).append


@pytest.fixture(scope="session")
def built() -> None:
    """Everything that is built or fetched, on a machine that can run it."""
    _see_that_gateways_may_listen()
    try:
        programs.prepare()
    except (GoError, KubeApiError) as error:
        missing(str(error))
    kustomize()


def _see_that_gateways_may_listen() -> None:
    with socket.socket() as probe:
        try:
            probe.bind((Network().take(), 80))
        except OSError as error:  # not root, and net.ipv4.ip_unprivileged_port_start as it is; or not Linux
            missing(f"a gateway cannot listen on port 80 of an address in 127.0.0.0/8: {error}")


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def stage(built: None, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    """The cluster; tests keep to namespaces of their own."""
    async with running(tmp_path_factory.mktemp("istio")) as made:
        yield made
