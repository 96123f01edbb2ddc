"""Where requests go, and what the model server and the client get to see of it."""

import dataclasses
from collections.abc import AsyncIterator

import pytest

from epp.core.outcomes import DropReason, Picked, PickInput, Refused
from epp.testing.backend import EchoBackend
from epp.testing.envoy_config import BodyModeName, EnvoyOptions, Upstream
from epp.testing.picks import always

from .conftest import PLAIN, Answering, running_door, staged

pytestmark = pytest.mark.envoy

MODES = (BodyModeName.FULL_DUPLEX_STREAMED, BodyModeName.BUFFERED)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("upstream", list(Upstream))
async def test_every_request_goes_where_it_was_picked(
    backend: EchoBackend, other_backend: EchoBackend, mode: BodyModeName, upstream: Upstream
) -> None:
    ports = {"a": backend, "b": other_backend}

    def answer(request: PickInput) -> Picked:
        return Picked((ports[request.headers["x-to"]].host_port,), "")

    endpoints = [backend.host_port, other_backend.host_port]
    options = EnvoyOptions((), endpoints=endpoints, upstream=upstream, request_body=mode)
    async with running_door(answer) as door, staged(door, options) as stage:
        for to in "abbaabab":
            response = await stage.client.post("/x", content=b"{}", headers={"x-to": to})
            assert response.json()["port"] == ports[to].port
            response = await stage.client.get("/x", headers={"x-to": to})
            assert response.json()["port"] == ports[to].port
        await door.settled(16)


DESTINATION = "x-gateway-destination-endpoint"
GATEWAY_WORDS = dict.fromkeys((DESTINATION, f"{DESTINATION}-served", f"{DESTINATION}-subset"), "a:1")
STEERING = {
    "x-prefiller-host-port": "203.0.113.1:1",
    "x-encoder-hosts-ports": "203.0.113.1:1",
    "x-data-parallel-host-port": "203.0.113.1:1",
    "x-kv-cache-source-host-port": "203.0.113.1:1",
    "x-llm-d-not-yet-known": "1",
    "x-llm-d-inference-objective": "urgent",
    "x-llm-d-model-name-rewrite": "dearer",
    "x-dynamo-worker-instance-id": "5",
    "x-dynamo-request-priority": "9",
    "x-worker-instance-id": "5",
    "x-epp-degraded": "no",
}
WORDS = {"x-kept": "1", "x-llm-d-slo-ttft-ms": "200", "x-dynamo-session-id": "s"}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("trusted", [False, True])
async def test_only_what_trusted_clients_say_steers_the_model_server(
    backend: EchoBackend, destination: Answering, mode: BodyModeName, trusted: bool
) -> None:
    sent = {**GATEWAY_WORDS, **STEERING, **WORDS}
    passing = WORDS | (STEERING if trusted else {})
    config = dataclasses.replace(PLAIN, trust_client_headers=trusted)
    async with (
        running_door(destination, config) as door,
        staged(door, EnvoyOptions((), request_body=mode)) as stage,
    ):
        response = await stage.client.post("/x", content=b"{}", headers=sent)
        assert response.status_code == 200
        received = backend.received[0].headers
        assert {k: v for k, v in received.items() if k in sent} == {**passing, DESTINATION: backend.host_port}
        asked = door.engine.requests[0].headers
        assert {k: v for k, v in asked.items() if k in sent} == passing


async def test_the_list_falls_back_to_the_next_endpoint(
    backend: EchoBackend, other_backend: EchoBackend
) -> None:
    config = dataclasses.replace(PLAIN, conformance=True)
    unknown = "127.0.0.1:9"
    options = EnvoyOptions(
        (), endpoints=[backend.host_port, other_backend.host_port], upstream=Upstream.OVERRIDE_HOST
    )
    answer = always(unknown, other_backend.host_port)
    async with running_door(answer, config) as door, staged(door, options) as stage:
        response = await stage.client.post("/x", content=b"{}")
        assert response.json()["port"] == other_backend.port
        assert response.headers["x-conformance-test-served-endpoint"] == other_backend.host_port
        await door.settled(1)
        assert door.engine.finished[0].facts.served == other_backend.host_port
        assert door.metrics.counts["elsewhere"] == 1


async def test_conformance_selection_becomes_the_subset(backend: EchoBackend, destination: Answering) -> None:
    config = dataclasses.replace(PLAIN, conformance=True)
    async with running_door(destination, config) as door, staged(door, EnvoyOptions(())) as stage:
        await stage.client.get("/", headers={"test-epp-endpoint-selection": "127.0.0.1, 10.0.0.1:80"})
        assert door.engine.requests[0].subset == ("127.0.0.1", "10.0.0.1:80")


@pytest.mark.parametrize("mode", MODES)
async def test_the_gateways_subset_hint_is_read(
    backend: EchoBackend, destination: Answering, mode: BodyModeName
) -> None:
    options = EnvoyOptions((), request_body=mode, subset=[backend.host_port, "[::1]:8000"])
    async with running_door(destination) as door, staged(door, options) as stage:
        await stage.client.post("/x", content=b"{}")
        await stage.client.get("/x")
        assert [r.subset for r in door.engine.requests] == [(backend.host_port, "[::1]:8000")] * 2


@pytest.mark.parametrize("mode", MODES)
async def test_refusals_reach_the_client(
    backend: EchoBackend, destination: Answering, mode: BodyModeName
) -> None:
    refusals = {
        "400": Refused(400, "no model", DropReason.BAD_REQUEST),
        "429": Refused(429, "busy", DropReason.SATURATED, (("retry-after", "7"),)),
        "503": Refused(503, "nobody", DropReason.NO_ENDPOINTS),
    }

    def answer(request: PickInput) -> Refused:
        if request.headers["x-want"] == "raise":
            raise RuntimeError("a defect")
        return refusals[request.headers["x-want"]]

    config = dataclasses.replace(PLAIN, max_body_bytes=1000)
    async with (
        running_door(answer, config) as door,
        staged(door, EnvoyOptions((), request_body=mode)) as stage,
    ):
        for want, refused in refusals.items():
            for content in (b"{}", None):
                response = await stage.client.request("POST", "/", content=content, headers={"x-want": want})
                assert response.status_code == refused.status
                assert response.headers["x-llm-d-request-dropped-reason"] == refused.reason
                assert response.headers["content-type"] == "application/json"
                assert response.headers.get("retry-after") == dict(refused.headers).get("retry-after")
                assert response.json()["error"]["message"] == refused.message
        asked = len(door.engine.requests)
        response = await stage.client.post("/", content=b"x" * 1001)
        assert (response.status_code, response.json()["error"]["code"]) == (413, "too-large")

        async def chunked() -> AsyncIterator[bytes]:
            for _ in range(20):
                yield b"x" * 100

        response = await stage.client.post("/", content=chunked())
        assert response.status_code == 413
        assert len(door.engine.requests) == asked
        response = await stage.client.post("/", content=b"{}", headers={"x-want": "raise"})
        assert response.status_code == 500
        assert door.metrics.counts["pick failed"] == 1
        assert backend.received == []


@pytest.mark.parametrize("mode", list(BodyModeName))
async def test_skip_response_lets_go_after_the_pick(destination: Answering, mode: BodyModeName) -> None:
    config = dataclasses.replace(PLAIN, skip_response=True)
    options = EnvoyOptions((), response_body=mode)
    async with running_door(destination, config) as door, staged(door, options) as stage:
        for content in (b"{}", b"y" * 300_000):
            response = await stage.client.post("/", content=content, headers={"x-events": "5"})
            assert response.status_code == 200
            assert response.text.count("data:") == 5
        assert (await stage.client.get("/")).status_code == 200
        kept = mode is BodyModeName.FULL_DUPLEX_STREAMED  # closing under a duplex body would cut it short
        assert set(await door.settled(3)) == ({"completed"} if kept else {"detached"})
