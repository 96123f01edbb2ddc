"""Envoy Gateway by itself: its policies attach the picker to a route to a Service of the workers."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.interop.gateways import checks
from tests.interop.gateways.cluster import Cluster
from tests.interop.gateways.gateways import envoy_gateway
from tests.interop.gateways.stage import Stage

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    made = await envoy_gateway(cluster, tmp_path_factory.mktemp("chart"))
    await made.overlay("envoy-gateway")
    yield made


async def test_picks_are_followed(stage: Stage) -> None:
    await checks.follows_every_pick(stage)


async def test_picks_are_followed_at_once(stage: Stage) -> None:
    await checks.follows_picks_at_once(stage)


async def test_clients_cannot_steer(stage: Stage) -> None:
    await checks.ignores_what_a_client_says(stage)


async def test_long_prompts(stage: Stage) -> None:
    await checks.takes_long_prompts(stage)


async def test_the_network_policy_admits_the_proxies(stage: Stage) -> None:
    checks.policy_admits_the_proxies(stage)


async def test_a_dead_worker_is_left_alone(stage: Stage) -> None:
    await checks.leaves_gone_workers(stage)


async def test_a_lost_picker_is_ejected_and_with_none_all_fails(stage: Stage) -> None:
    await checks.ejects_what_is_lost(stage, stage.pickers[0])
    assert (await checks.statuses_without(stage, stage.pickers[0]))[-1] == 500
