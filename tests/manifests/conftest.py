"""A real API server that knows every kind the manifests use; nothing is stored in it but namespaces."""

import shutil
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
import pytest_asyncio

from epp.testing.kubeapi.build import KubeApiError
from epp.testing.kubeapi.server import ApiServer
from tests.manifests.programs import definitions, missing

TOKENS = {"epp-token": "system:serviceaccount:llm:epp"}
"""The account of the shipped pods, as the API server names it."""
_RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}


def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    """The first test of a machine builds kustomize, or fetches definitions."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.timeout(600))


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def api_server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ApiServer]:
    if shutil.which("etcd") is None:
        missing("there is no etcd (etcd-server)")
    try:
        async with ApiServer(tmp_path_factory.mktemp("kubeapi"), TOKENS) as server:
            await server.install(*definitions(tmp_path_factory.mktemp("definitions")))
            yield server
    except KubeApiError as error:
        missing(str(error))


@pytest.fixture(scope="session")
def namespaces(api_server: ApiServer) -> None:
    """Where objects are tried: one as shipped, one in which only restricted pods may be."""
    for name, labels in (("llm", {}), ("restricted", _RESTRICTED)):
        metadata = {"name": name, "labels": labels}
        api_server.admin.create(
            "/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}
        )
