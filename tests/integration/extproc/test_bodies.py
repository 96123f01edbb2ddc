"""Every body arrives whole, in every mode, whichever way the endpoint is reached."""

import asyncio
import dataclasses
import hashlib
import random
from collections.abc import AsyncIterator

import httpx
import pytest

from epp.config.model import TlsConfig
from epp.core.outcomes import Picked, PickInput
from epp.testing.backend import EchoBackend
from epp.testing.envoy_config import BodyModeName, EnvoyOptions, Upstream

from .conftest import PLAIN, Answering, running_door, staged

pytestmark = pytest.mark.envoy

SIZES = (1, 2, 1000, 16_384, 61_999, 62_000, 62_001, 220_000, 430_000, 1_100_000, 5_000_000)
MODES = (BodyModeName.FULL_DUPLEX_STREAMED, BodyModeName.BUFFERED)


async def pieces(body: bytes, size: int = 50_000) -> AsyncIterator[bytes]:
    for at in range(0, len(body), size):
        yield body[at : at + size]


async def post_and_check(client: httpx.AsyncClient, body: bytes, *, chunked: bool = False) -> None:
    response = await client.post("/v1/completions", content=pieces(body) if chunked else body)
    assert response.status_code == 200, response.text
    assert response.json()["sha256"] == hashlib.sha256(body).hexdigest()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("upstream", list(Upstream))
@pytest.mark.parametrize("tls", [False, True])
async def test_bodies_of_all_sizes_arrive_intact(
    backend: EchoBackend, destination: Answering, mode: BodyModeName, upstream: Upstream, tls: bool
) -> None:
    config = dataclasses.replace(PLAIN, tls=TlsConfig(enabled=tls))
    options = EnvoyOptions(
        pickers=(),
        endpoints=[backend.host_port],
        upstream=upstream,
        request_body=mode,
        picker_tls=tls,
        buffer_limit_bytes=8 * 1024 * 1024,
    )
    source = random.Random(7)
    async with running_door(destination, config) as door, staged(door, options) as stage:
        for size in SIZES:
            body = source.randbytes(size)
            await post_and_check(stage.client, body)
            await post_and_check(stage.client, body, chunked=True)
        endings = await door.settled(2 * len(SIZES))
        assert set(endings) == {"completed"}
        assert [len(r.body) for r in door.engine.requests] == [s for s in SIZES for _ in range(2)]
        assert not [k for k in door.metrics.counts if k.startswith(("error", "immediate"))]


@pytest.mark.parametrize("mode", MODES)
async def test_requests_without_a_body(
    backend: EchoBackend, destination: Answering, mode: BodyModeName
) -> None:
    async with running_door(destination) as door, staged(door, EnvoyOptions((), request_body=mode)) as stage:
        assert (await stage.client.get("/v1/models")).status_code == 200
        response = await stage.client.post("/v1/completions", content=b"")
        assert response.json()["bytes"] == 0
        assert set(await door.settled(2)) == {"completed"}
        assert door.engine.requests[0].body is None
        assert door.engine.requests[0].path == "/v1/models"


@pytest.mark.parametrize("mode", MODES)
async def test_a_replaced_body_arrives_with_the_right_length(
    backend: EchoBackend, mode: BodyModeName
) -> None:
    new = b"x" * 130_000

    def answer(request: PickInput) -> Picked:
        return Picked((backend.host_port,), request.request_id, (("x-added", "yes"),), ("x-away",), body=new)

    async with running_door(answer) as door, staged(door, EnvoyOptions((), request_body=mode)) as stage:
        response = await stage.client.post("/v1/completions", content=b"old", headers={"x-away": "1"})
        assert response.status_code == 200, response.text
        assert response.json()["sha256"] == hashlib.sha256(new).hexdigest()
        received = backend.received[0].headers
        assert received["x-added"] == "yes"
        assert "x-away" not in received


@pytest.mark.parametrize("mode", [BodyModeName.NONE, BodyModeName.STREAMED, BodyModeName.BUFFERED_PARTIAL])
async def test_other_modes_are_served_as_well_as_they_allow(
    backend: EchoBackend, destination: Answering, mode: BodyModeName
) -> None:
    options = EnvoyOptions((), request_body=mode, buffer_limit_bytes=65_536)
    async with running_door(destination) as door, staged(door, options) as stage:
        for size in (10, 300_000):
            await post_and_check(stage.client, random.Random(size).randbytes(size))
        assert set(await door.settled(2)) == {"completed"}
        assert door.engine.requests[1].body is None


async def test_http2_clients(backend: EchoBackend, destination: Answering) -> None:
    async with running_door(destination) as door, staged(door, EnvoyOptions((), downstream_h2=True)) as stage:
        bodies = [random.Random(n).randbytes(n * 1000 + 1) for n in range(40)]
        await asyncio.gather(*(post_and_check(stage.client, body) for body in bodies))
        assert set(await door.settled(40)) == {"completed"}


@pytest.mark.parametrize("mode", list(BodyModeName))
async def test_response_bodies_through_the_picker(
    backend: EchoBackend, destination: Answering, mode: BodyModeName
) -> None:
    config = dataclasses.replace(PLAIN, observe_response=True)
    options = EnvoyOptions(
        (), endpoints=[backend.host_port], upstream=Upstream.OVERRIDE_HOST, response_body=mode
    )
    async with running_door(destination, config) as door, staged(door, options) as stage:
        await post_and_check(stage.client, b"a" * 200_000)
        async with stage.client.stream("POST", "/", content=b"b", headers={"x-events": "50"}) as response:
            lines = [line async for line in response.aiter_lines() if line]
        assert len(lines) == 50
        assert set(await door.settled(2)) == {"completed"}
        facts = door.engine.finished[1].facts
        assert (facts.status, facts.served) == (200, backend.host_port)
        if mode is not BodyModeName.NONE:
            assert (facts.prompt_tokens, facts.completion_tokens) == (11, 7)
            assert facts.response_bytes > 50 * 50
