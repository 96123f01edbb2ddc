"""What happens to pods, as a picker with the shipped rights sees it."""

import random

import pytest

from tests.integration.kubernetes.conftest import Space, eventually, places, settles

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(1500)]


async def test_readiness_termination_and_another_address(space: Space) -> None:
    space.add_pool("a", 8000, 8001)
    space.add("w0", "10.0.0.1")
    space.add("w1", "10.0.0.2", ready=False)
    space.add("w2")
    space.add("elsewhere", "10.0.0.9", app="b")
    first = {"10.0.0.1:8000", "10.0.0.1:8001"}
    async with space.discovered() as discovery:
        await settles(discovery, first)
        space.be("w1", "10.0.0.2")
        await settles(discovery, first | {"10.0.0.2:8000", "10.0.0.2:8001"})
        space.be("w1", "10.0.0.2", ready=False)
        await settles(discovery, first)
        space.be("w0", "10.0.0.3")
        await settles(discovery, {"10.0.0.3:8000", "10.0.0.3:8001"})
        space.be("w2", "10.0.0.4")
        await settles(discovery, {f"10.0.0.{host}:{port}" for host in (3, 4) for port in (8000, 8001)})
        space.remove("w2", gracePeriodSeconds=60)  # it is there and Ready, and ending
        await settles(discovery, {"10.0.0.3:8000", "10.0.0.3:8001"})
        space.remove("w0")
        await eventually(lambda: not discovery.snapshot.endpoints)
        assert discovery.problem is not None
        assert "selects 2 pods (app=a), none of them Ready" in discovery.problem


async def test_pods_on_their_nodes_network_share_its_address(space: Space) -> None:
    space.add_pool("a", 8000, 8001)
    for port in (8000, 8001):
        space.add(f"w{port}", "10.0.0.1", **{"epp/active-ports": str(port)})
    async with space.discovered() as discovery:
        await settles(discovery, {"10.0.0.1:8000", "10.0.0.1:8001"})
        space.remove("w8000")
        await settles(discovery, {"10.0.0.1:8001"})


async def test_a_pod_that_is_replaced_under_its_name(space: Space) -> None:
    """As StatefulSets do: the new one serves when it is Ready, at its own address."""
    space.add_pool()
    space.add("w-0", "10.0.0.1")
    space.add("w-1", "10.0.0.2")
    async with space.discovered() as discovery:
        await settles(discovery, {"10.0.0.1:8000", "10.0.0.2:8000"})
        seen: list[set[str]] = []
        discovery.subscribe(lambda _: seen.append(places(discovery)))
        space.remove("w-0")
        space.add("w-0", "10.0.0.3", ready=False)
        await settles(discovery, {"10.0.0.2:8000"})
        space.be("w-0", "10.0.0.3")
        await settles(discovery, {"10.0.0.2:8000", "10.0.0.3:8000"})
        assert seen[1:] == [{"10.0.0.2:8000"}, {"10.0.0.2:8000", "10.0.0.3:8000"}]


async def test_addresses_of_both_families(space: Space) -> None:
    space.add_pool()
    space.add("six", "fd00::1")
    space.add("both", "10.0.0.1", "fd00::2")
    space.add("other-order", "fd00::3", "10.0.0.3")
    async with space.discovered() as discovery:
        await settles(discovery, {"[fd00::1]:8000", "10.0.0.1:8000", "[fd00::3]:8000"})


async def test_what_labels_and_annotations_say(space: Space) -> None:
    space.add_pool()
    notes = {"epp/role": "prefill", "llm-d.ai/engine-type": "sglang", "epp/kv-events-port": "5557"}
    space.add("w", "10.0.0.1", **notes)
    async with space.discovered() as discovery:
        await settles(discovery, {"10.0.0.1:8000"})
        (endpoint,) = discovery.snapshot.endpoints
        assert (endpoint.role, endpoint.engine) == ("prefill", "sglang")
        assert endpoint.kv_events == "tcp://10.0.0.1:5557"
        space.server.admin.patch(f"{space.pods}/w", {"metadata": {"annotations": {"epp/role": "prefil"}}})
        await eventually(lambda: discovery.problem is not None)
        assert "epp/role is no role: 'prefil'" in (discovery.problem or "")
        assert places(discovery) == {"10.0.0.1:8000"}


async def test_two_pods_that_claim_one_address(space: Space) -> None:
    space.add_pool()
    space.add("old", "10.0.0.1")
    async with space.discovered() as discovery:
        await settles(discovery, {"10.0.0.1:8000"})
        space.add("new", "10.0.0.1")
        space.add("sign", "10.0.0.2")
        await settles(discovery, {"10.0.0.1:8000", "10.0.0.2:8000"})


async def test_hundreds_of_pods_come_change_and_go(space: Space) -> None:
    """More than a page to begin with; after every burst the pool is what the API server has."""
    space.add_pool()
    address = {f"w{i}": f"10.1.{i // 250}.{i % 250 + 1}" for i in range(600)}
    ready = dict.fromkeys(address, True)
    for name, place in address.items():
        space.add(name, place)
    draw = random.Random(7)
    async with space.discovered() as discovery:
        await settles(discovery, {f"{place}:8000" for place in address.values()})
        for _ in range(4):
            for name in draw.sample(sorted(ready), 100):
                what = draw.random()
                if what < 0.4:
                    space.remove(name)
                    del ready[name]
                elif what < 0.5:
                    address[name] = address[name].replace("10.1.", "10.2.")
                    space.be(name, address[name], ready=ready[name])
                else:
                    ready[name] = not ready[name]
                    space.be(name, address[name], ready=ready[name])
            await settles(
                discovery, {f"{address[name]}:8000" for name, is_ready in ready.items() if is_ready}
            )
