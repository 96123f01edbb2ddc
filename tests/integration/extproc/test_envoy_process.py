"""The Envoy runner and every configuration it can write."""

import json

import pytest

from epp.testing.envoy import EnvoyError, validate
from epp.testing.envoy_config import EnvoyOptions, Upstream

from .conftest import Answering, running_door, staged


@pytest.mark.envoy
@pytest.mark.parametrize("upstream", list(Upstream))
@pytest.mark.parametrize("tls", [False, True])
async def test_envoy_accepts_every_variant(upstream: Upstream, tls: bool) -> None:
    options = EnvoyOptions(
        [1234],
        endpoints=["127.0.0.1:1", "[::1]:2"],
        upstream=upstream,
        picker_tls=tls,
        subset=["127.0.0.1"],
        health_interval_s=1,
        retries=2,
    )
    await validate(options)


@pytest.mark.envoy
async def test_a_refused_configuration_says_why() -> None:
    with pytest.raises(EnvoyError, match="port_value"):
        await validate(EnvoyOptions([99_999]))


@pytest.mark.envoy
async def test_admin_pages_can_be_read(destination: Answering) -> None:
    async with running_door(destination) as door, staged(door, EnvoyOptions(())) as stage:
        await stage.client.get("/")
        assert await stage.envoy.stat("http.ingress.ext_proc.streams_started") == 1
        assert json.loads(await stage.envoy.admin("/server_info"))["state"] == "LIVE"
        assert stage.envoy.pid > 0
