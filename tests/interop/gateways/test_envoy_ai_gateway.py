"""Envoy AI Gateway: it attaches the picker of an InferencePool to a route of Envoy Gateway."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.interop.gateways import checks, programs
from tests.interop.gateways.cluster import Cluster
from tests.interop.gateways.gateways import envoy_ai_gateway
from tests.interop.gateways.stage import Stage

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(programs.source("ai-gateway") is None, reason="EPP_AIGW_SOURCE is not set"),
]

_BODY_MODE = "aigateway.envoyproxy.io/processing-body-mode"
_POOL = "/apis/inference.networking.k8s.io/v1/namespaces/llm/inferencepools/llm"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    made = await envoy_ai_gateway(cluster, tmp_path_factory.mktemp("chart"))
    await made.overlay("envoy-ai-gateway")
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


async def test_bodies_in_one_piece(stage: Stage) -> None:
    """The pool's annotation turns duplex bodies into buffered ones. Envoy Gateway hears of it when the pool
    itself changes: an annotation alone is no new generation."""
    (proxy,) = stage.proxies
    annotated = {"metadata": {"annotations": {_BODY_MODE: "buffered"}}}
    changed = {"spec": {"endpointPickerRef": {"failureMode": "FailClose"}}}
    stage.objects.admin.patch(_POOL, {**annotated, **changed})
    await stage.until(lambda: '"BUFFERED"' in stage.config_of(proxy), "Envoy has the new mode")
    await checks.follows_every_pick(stage)
    await checks.follows_picks_at_once(stage)


async def test_a_dead_worker_is_left_alone(stage: Stage) -> None:
    await checks.leaves_gone_workers(stage)


async def test_one_picker_is_enough_and_none_is_an_error(stage: Stage) -> None:
    assert (await checks.statuses_without(stage, stage.pickers[0]))[-1] == 200
    assert (await checks.statuses_without(stage, stage.pickers[0]))[-1] == 500
