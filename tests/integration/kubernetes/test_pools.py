"""What happens to the pool itself."""

import pytest

from epp.testing.kubeapi.objects import old_pool
from tests.integration.kubernetes.conftest import (
    Space,
    eventually,
    places,
    settles,
)

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(1500)]


def two_teams(space: Space) -> None:
    space.add("a0", "10.0.0.1", app="a")
    space.add("b0", "10.0.0.2", app="b")


async def test_another_selector_and_other_ports(space: Space) -> None:
    two_teams(space)
    space.add_pool("a")
    async with space.discovered() as discovery:
        seen: list[set[str]] = []
        await settles(discovery, {"10.0.0.1:8000"})
        discovery.subscribe(lambda _: seen.append(places(discovery)))
        space.edit_pool(targetPorts=[{"number": 9000}, {"number": 9001}])
        await settles(discovery, {"10.0.0.1:9000", "10.0.0.1:9001"})
        space.edit_pool(selector={"matchLabels": {"app": "b"}}, targetPorts=[{"number": 8000}])
        await settles(discovery, {"10.0.0.2:8000"})
        assert seen == [
            {"10.0.0.1:8000"},
            {"10.0.0.1:9000", "10.0.0.1:9001"},
            {"10.0.0.2:8000"},
        ], "the pool is never empty on the way"
        space.edit_pool(selector={"matchLabels": {"app": "a"}})
        space.edit_pool(targetPorts=[{"number": 7000}])
        await settles(discovery, {"10.0.0.1:7000"})
        assert {"10.0.0.2:7000"} not in seen, "pods of the old selector have no new ports"


async def test_deleted_and_made_again(space: Space) -> None:
    two_teams(space)
    space.add_pool("a")
    async with space.discovered() as discovery:
        await settles(discovery, {"10.0.0.1:8000"})
        space.remove_pool()
        await eventually(lambda: not discovery.snapshot.endpoints)
        assert discovery.problem == f"InferencePool {space.name}/pool was deleted"
        space.add_pool("b", 9000)
        await settles(discovery, {"10.0.0.2:9000"})


async def test_a_pool_that_comes_later(space: Space) -> None:
    two_teams(space)
    async with space.discovered() as discovery:
        await eventually(lambda: "does not exist" in (discovery.problem or ""))
        space.add_pool("a")
        await settles(discovery, {"10.0.0.1:8000"})


async def test_a_selector_without_a_pool(space: Space) -> None:
    two_teams(space)
    async with space.discovered(selector="app=b", target_ports=(8000, 8001)) as discovery:
        await settles(discovery, {"10.0.0.2:8000", "10.0.0.2:8001"})


async def test_the_older_version_where_the_newer_has_no_such_pool(space: Space) -> None:
    two_teams(space)
    space.server.admin.create(space.old_pools, old_pool("pool", {"app": "b"}, 8000))
    async with space.discovered() as discovery:
        await settles(discovery, {"10.0.0.2:8000"})
