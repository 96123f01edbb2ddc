"""The shipped Role is all that discovery needs, and it allows nothing else."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from epp.discovery.kubernetes import KubernetesDiscovery, PoolReference, find_access
from epp.testing.kubeapi.objects import PODS, pod, status
from epp.testing.kubeapi.server import ApiServer
from tests.manifests.built import one
from tests.manifests.conftest import TOKENS
from tests.manifests.test_apiserver import collection

pytestmark = pytest.mark.usefixtures("shipped")
_DEADLINE_S = 60.0
_KINDS = ("Role", "RoleBinding")


@pytest.fixture(scope="module")
def shipped(api_server: ApiServer, namespaces: None) -> Iterator[None]:
    """Role, binding and pool, as the overlay for Istio makes them."""
    made = [one("overlays/istio", kind) for kind in (*_KINDS, "InferencePool")]
    for thing in made:
        api_server.admin.create(collection(thing), thing)
    yield
    for thing in made:
        api_server.admin.delete(f"{collection(thing)}/{thing['metadata']['name']}")


async def test_it_suffices(api_server: ApiServer) -> None:
    pods = PODS.format("llm")
    api_server.admin.create(pods, pod("worker-0", {"inference-pool": "llm"}, {}))
    api_server.admin.patch(f"{pods}/worker-0/status", status(("127.0.0.5",), ready=True))
    for reference in (
        PoolReference("llm", name="llm"),
        PoolReference("llm", selector="inference-pool=llm", target_ports=(8000,)),
    ):
        async with _discovered(api_server, reference) as discovery, asyncio.timeout(_DEADLINE_S):
            while not discovery.snapshot.endpoints:
                await asyncio.sleep(0.02)
            assert discovery.problem is None
            assert [found.host_port for found in discovery.snapshot.endpoints] == ["127.0.0.5:8000"]
    api_server.admin.delete(f"{pods}/worker-0")


@asynccontextmanager
async def _discovered(server: ApiServer, reference: PoolReference) -> AsyncIterator[KubernetesDiscovery]:
    config = server.kubeconfig("shipped", {"token": next(iter(TOKENS))})
    discovery = KubernetesDiscovery(reference, find_access({"KUBECONFIG": str(config)}))
    task = asyncio.create_task(discovery.run())
    try:
        yield discovery
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@pytest.mark.parametrize(
    ("verb", "resource", "namespace", "allowed"),
    [
        ("watch", "pods", "llm", True),
        ("delete", "pods", "llm", False),
        ("list", "pods", "default", False),
        ("get", "secrets", "llm", False),
        ("get", "configmaps", "llm", False),
        ("create", "events", "llm", False),
        ("list", "nodes", "", False),
    ],
)
def test_what_it_allows(
    api_server: ApiServer, verb: str, resource: str, namespace: str, *, allowed: bool
) -> None:
    asked: dict[str, Any] = {"verb": verb, "resource": resource, "namespace": namespace}
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {"user": next(iter(TOKENS.values())), "resourceAttributes": asked},
    }
    path = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
    assert api_server.admin.call("POST", path, review)["status"]["allowed"] is allowed
