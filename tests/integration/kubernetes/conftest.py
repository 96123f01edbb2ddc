"""A real Kubernetes API server, shared by all tests here; each has a namespace and a Role of its own."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import yaml

from epp.core.poolrules import PoolRules
from epp.discovery.kubernetes import KubernetesDiscovery, PoolReference, find_access
from epp.testing.kubeapi.build import WITH_V1ALPHA2_VERSION, KubeApiError, custom_resources
from epp.testing.kubeapi.objects import (
    BINDINGS,
    NAMESPACES,
    OLD_POOLS,
    PODS,
    POOLS,
    ROLES,
    namespace,
    pod,
    pool,
    reader,
    status,
)
from epp.testing.kubeapi.server import ApiServer
from epp.wire.kubernetes.objectives import LLM_D
from epp.wire.kubernetes.pools import GROUP_V1
from tests.integration.kubernetes.prepare import prepare

DEADLINE_S = 60.0
_numbers = count()
TOKENS = {"picker-token": "picker", "stranger-token": "stranger"}


def old_pools_definition() -> Path:
    """Of InferencePool v1alpha2."""
    files = custom_resources(WITH_V1ALPHA2_VERSION)
    return next(file for file in files if file.name == "inference.networking.x-k8s.io_inferencepools.yaml")


def llm_d_definitions(folder: Path, pools: str) -> tuple[Path, ...]:
    """Of InferenceObjective and InferenceModelRewrite in llm-d's group, made of the inference extension's:
    they are the same but for the group, and llm-d's modules cannot be had everywhere. ``pools``: the group of
    a reference to a pool that names none, in which versions of llm-d differ."""
    made: list[Path] = []
    for plural in ("inferenceobjectives", "inferencemodelrewrites"):
        name = f"inference.networking.x-k8s.io_{plural}.yaml"
        (file,) = (file for file in custom_resources() if file.name == name)
        definition = yaml.safe_load(file.read_text())
        definition["metadata"]["name"] = f"{plural}.{LLM_D}"
        definition["spec"]["group"] = LLM_D
        for version in definition["spec"]["versions"]:
            spec = version["schema"]["openAPIV3Schema"]["properties"]["spec"]
            spec["properties"]["poolRef"]["properties"]["group"]["default"] = pools
        made.append(folder / f"{LLM_D}_{plural}.yaml")
        made[-1].write_text(yaml.safe_dump(definition))
    return tuple(made)


async def eventually(condition: Callable[[], bool], said: Callable[[], object] = lambda: "") -> None:
    try:
        async with asyncio.timeout(DEADLINE_S):
            while not condition():
                await asyncio.sleep(0.01)
    except TimeoutError:
        pytest.fail(f"never came true; {said()}")


class Space:
    """One namespace; pods and pools in it as short calls."""

    def __init__(self, server: ApiServer, name: str) -> None:
        self.server, self.name = server, name
        self.pods, self.pools = PODS.format(name), POOLS.format(name)
        self.old_pools = OLD_POOLS.format(name)

    def allow(self, user: str = "picker") -> None:
        role, binding = reader(user)
        self.server.admin.create(ROLES.format(self.name), role)
        self.server.admin.create(BINDINGS.format(self.name), binding)

    def add(self, name: str, *addresses: str, app: str = "a", ready: bool = True, **notes: str) -> None:
        self.server.admin.create(self.pods, pod(name, {"app": app}, notes))
        if addresses:
            self.be(name, *addresses, ready=ready)

    def be(self, name: str, *addresses: str, ready: bool = True) -> None:
        self.server.admin.patch(f"{self.pods}/{name}/status", status(addresses, ready=ready))

    def remove(self, name: str, **options: Any) -> None:
        self.server.admin.delete(f"{self.pods}/{name}", **options)

    def add_pool(self, app: str = "a", *ports: int) -> None:
        self.server.admin.create(self.pools, pool("pool", {"app": app}, ports or (8000,)))

    def edit_pool(self, **spec: Any) -> None:
        self.server.admin.patch(f"{self.pools}/pool", {"spec": spec})

    def remove_pool(self) -> None:
        self.server.admin.delete(f"{self.pools}/pool")

    @asynccontextmanager
    async def discovered(
        self, user: dict[str, Any] | None = None, rules: PoolRules | None = None, **reference: Any
    ) -> AsyncIterator[KubernetesDiscovery]:
        config = self.server.kubeconfig(self.name, user or {"token": "picker-token"})
        access = find_access({"KUBECONFIG": str(config)})
        which = {"name": "pool"} if "selector" not in reference else {}
        discovery = KubernetesDiscovery(PoolReference(self.name, **which, **reference), access, rules=rules)
        task = asyncio.create_task(discovery.run())
        try:
            yield discovery
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


def places(discovery: KubernetesDiscovery) -> set[str]:
    return {endpoint.host_port for endpoint in discovery.snapshot.endpoints}


async def settles(discovery: KubernetesDiscovery, expected: set[str]) -> None:
    await eventually(
        lambda: places(discovery) == expected and discovery.problem is None,
        lambda: f"{places(discovery) ^ expected}; {discovery.problem}",
    )


@pytest.fixture(scope="session")
def toolchain() -> None:
    """The first run builds the API server, which takes minutes."""
    try:
        prepare()
    except KubeApiError as error:
        (pytest.fail if os.environ.get("EPP_REQUIRE_ALL") else pytest.skip)(str(error))


@asynccontextmanager
async def running(folder: Path) -> AsyncIterator[ApiServer]:
    async with ApiServer(folder, TOKENS) as server:
        yield server


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def server(toolchain: None, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ApiServer]:
    folder = tmp_path_factory.mktemp("kubeapi")
    async with running(folder) as server:
        await server.install()
        await server.install(old_pools_definition(), *llm_d_definitions(folder, GROUP_V1))
        yield server


@pytest.fixture
def space(server: ApiServer) -> Space:
    """A namespace of its own, in which the picker may read pods and pools."""
    name = f"t{next(_numbers)}"
    server.admin.create(NAMESPACES, namespace(name))
    space = Space(server, name)
    space.allow()
    return space
