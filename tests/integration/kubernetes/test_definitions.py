"""Definitions that are installed and removed while a picker runs, on an API server of the tests' own."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import yaml

from epp.core.poolrules import PoolRules
from epp.discovery.kubernetes import KubernetesDiscovery
from epp.testing.kubeapi.build import custom_resources
from epp.testing.kubeapi.objects import old_pool
from epp.testing.kubeapi.server import ApiError, ApiServer
from epp.wire.kubernetes.objectives import LLM_D
from tests.integration.kubernetes.conftest import (
    Space,
    eventually,
    llm_d_definitions,
    old_pools_definition,
    running,
    settles,
)
from tests.integration.kubernetes.test_objectives import Rules, allow, to

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(1500)]
LOOK_S = 1.0
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bare(toolchain: None, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ApiServer]:
    """A server without any definitions."""
    async with running(tmp_path_factory.mktemp("bare")) as server:
        yield server


@pytest.fixture
def space(bare: ApiServer) -> Space:
    space = Space(bare, "default")
    space.allow()
    allow(space)
    return space


def pools_definition() -> Path:
    """Of InferencePool v1."""
    (file,) = (f for f in custom_resources() if f.name == "inference.networking.k8s.io_inferencepools.yaml")
    return file


async def uninstall(server: ApiServer, *files: Path) -> None:
    """With their objects; comes back when the definitions are gone."""
    for file in files:
        path = f"{DEFINITIONS}/{yaml.safe_load(file.read_text())['metadata']['name']}"
        server.admin.delete(path)
        await eventually(lambda path=path: _is_gone(server, path))


def _is_gone(server: ApiServer, path: str) -> bool:
    try:
        server.admin.call("GET", path)
    except ApiError as error:
        return error.status == 404
    return False


async def says(discovery: KubernetesDiscovery, words: str) -> None:
    await eventually(lambda: words in (discovery.problem or ""), lambda: discovery.problem)


async def test_definitions_come_and_go(space: Space, tmp_path: Path) -> None:
    """No pool; the older; the newer, which then counts; the older again; none. Then rules come and go."""
    server, rules = space.server, PoolRules()
    old, new = old_pools_definition(), pools_definition()
    for name, app in (("w0", "a"), ("w1", "b")):
        space.add(name, f"10.0.0.{name[1:]}", app=app)
    async with space.discovered(rules=rules, look_s=LOOK_S) as discovery:
        await says(discovery, "CustomResourceDefinition")
        await server.install(old)
        server.admin.create(space.old_pools, old_pool("pool", {"app": "b"}, 8000))
        await settles(discovery, {"10.0.0.1:8000"})
        await server.install(new)
        space.add_pool("a", 9000)
        await settles(discovery, {"10.0.0.0:9000"})
        await uninstall(server, new)
        await settles(discovery, {"10.0.0.1:8000"})
        await uninstall(server, old)
        await eventually(lambda: not discovery.snapshot.endpoints)
        await says(discovery, "CustomResourceDefinition")
        await server.install(new)
        space.add_pool("a", 9000)
        await settles(discovery, {"10.0.0.0:9000"})
        assert not rules.priorities
        for _ in range(2):
            await _rules_come_and_go(space, rules, llm_d_definitions(tmp_path, pools=LLM_D))
        assert discovery.problem is None


async def _rules_come_and_go(space: Space, rules: PoolRules, definitions: tuple[Path, ...]) -> None:
    await space.server.install(*definitions)
    made = Rules(space, LLM_D)
    made.add("InferenceObjective", "urgent", {"priority": 5})
    made.add("InferenceModelRewrite", "r", {"rules": [to("small", matching="chat")]})
    await eventually(lambda: rules.priorities == {"urgent": 5} and _target(rules) == ("small",))
    await uninstall(space.server, *definitions)
    await eventually(lambda: not rules.priorities and _target(rules) is None)


def _target(rules: PoolRules) -> Any:
    found = rules.rewrites.targets("chat")
    return None if found is None else found.models
