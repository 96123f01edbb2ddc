"""The picker's part of the inference-extension's conformance suite, with a real Envoy in between.

The suite (version 1.5) needs a cluster; its cases need from the picker what is tried here: the picker as a
process with its self-signed certificate, Envoy programmed as Istio does it, endpoints on several addresses
and target ports.
"""

import asyncio
import contextlib
import itertools
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import pytest

from epp.testing.backend import EchoBackend
from epp.testing.envoy import EnvoyProcess
from epp.testing.envoy_config import BodyModeName, EnvoyOptions, Upstream

from .conftest import serving

pytestmark = pytest.mark.envoy

SELECTION = "test-epp-endpoint-selection"
SERVED = "x-conformance-test-served-endpoint"
REQUESTS, AT_ONCE = 100, 10
"""As many as the suite sends."""


@contextlib.asynccontextmanager
async def gateway(
    folder: Path, endpoints: Sequence[str], *, upstream_h2: bool = False
) -> AsyncIterator[httpx.AsyncClient]:
    """A client of an Envoy that is steered by the metadata of a picker in conformance mode, over TLS."""
    async with serving(folder, endpoints, "--conformance") as picker:
        options = EnvoyOptions(
            pickers=[int(picker.ready["grpc_port"])],
            endpoints=endpoints,
            upstream=Upstream.OVERRIDE_HOST,
            response_body=BodyModeName.FULL_DUPLEX_STREAMED,
            picker_tls=True,
            upstream_h2=upstream_h2,
        )
        async with (
            EnvoyProcess(options) as envoy,
            httpx.AsyncClient(base_url=f"http://127.0.0.1:{envoy.port}", timeout=60) as client,
        ):
            yield client


async def served_by(client: httpx.AsyncClient, selection: str, requests: int = REQUESTS) -> Counter[str]:
    """Who served, by the response header; it has to agree with the backend that answered."""
    slots = asyncio.Semaphore(AT_ONCE)

    async def one(_number: int) -> str:
        async with slots:
            answer = await client.get("/", headers={SELECTION: selection} if selection else {})
        assert answer.status_code == 200, answer.text
        served = answer.headers[SERVED]
        assert served.endswith(f":{answer.json()['port']}")
        return served

    return Counter(await asyncio.gather(*map(one, range(requests))))


@pytest.fixture
async def pods() -> AsyncIterator[list[list[str]]]:
    """Three addresses with two target ports each; first by address."""
    async with AsyncExitStack() as stack:
        rows: list[list[str]] = []
        for host in ("127.0.0.1", "127.0.0.2", "127.0.0.3"):
            servers = [await stack.enter_async_context(EchoBackend(host)) for _ in range(2)]
            rows.append([server.host_port for server in servers])
        yield rows


async def test_requests_reach_the_selected_pods_only(tmp_path: Path, pods: list[list[str]]) -> None:
    # GatewayFollowingEPPRouting: one, two and three pods by address.
    first_ports = [ports[0] for ports in pods]
    async with gateway(tmp_path, first_ports) as client:
        for count in (1, 2, 3):
            selected = first_ports[:count]
            addresses = ",".join(endpoint.partition(":")[0] for endpoint in selected)
            counts = await served_by(client, addresses)
            assert set(counts) == set(selected)


async def test_every_target_port_of_the_selected_pods_is_used(tmp_path: Path, pods: list[list[str]]) -> None:
    # GatewayFollowingEPPRoutingWithDataParallelism: an address is all its ports, balanced.
    everyone = list(itertools.chain(*pods))
    async with gateway(tmp_path, everyone) as client:
        for selected in (pods[:1], pods[:2], pods):
            addresses = ", ".join(ports[0].partition(":")[0] for ports in selected)
            expected = list(itertools.chain(*selected))
            counts = await served_by(client, addresses)
            assert set(counts) == set(expected)
            assert min(counts.values()) * len(expected) * 10 > REQUESTS, "equals are drawn from, evenly"
        assert set(await served_by(client, pods[2][1], 10)) == {pods[2][1]}


async def test_the_served_endpoint_is_told_with_every_kind_of_request(
    tmp_path: Path, pods: list[list[str]]
) -> None:
    # GatewayDestinationEndpointServed; and GETs without a body, as most of the suite's requests are.
    async with gateway(tmp_path, list(itertools.chain(*pods))) as client:
        for endpoint in itertools.chain(*pods):
            for content in (None, b'{"model": "m", "prompt": "hi"}'):
                answer = await client.request(
                    "POST" if content else "GET",
                    "/v1/completions",
                    content=content,
                    headers={SELECTION: endpoint},
                )
                assert (answer.status_code, answer.headers.get_list(SERVED)) == (200, [endpoint])


async def test_selecting_nobody_of_the_pool_is_refused(tmp_path: Path, pods: list[list[str]]) -> None:
    async with gateway(tmp_path, pods[0]) as client:
        answer = await client.get("/", headers={SELECTION: pods[1][0]})
        assert (answer.status_code, SERVED in answer.headers) == (503, False)


async def test_pools_that_speak_h2c(tmp_path: Path, pods: list[list[str]]) -> None:
    # InferencePoolAppProtocol: Envoys that speak HTTP/2 without TLS stand before the backends.
    async with AsyncExitStack() as stack:
        fronts: list[EnvoyProcess] = []
        for ports in pods[:2]:
            plain = EnvoyOptions((), endpoints=ports[:1], upstream=Upstream.OVERRIDE_HOST, downstream_h2=True)
            fronts.append(await stack.enter_async_context(EnvoyProcess(plain)))
        endpoints = [f"127.0.0.1:{front.port}" for front in fronts]
        async with gateway(tmp_path, endpoints, upstream_h2=True) as client:
            for endpoint, ports in zip(endpoints, pods, strict=False):
                answer = await client.get("/", headers={SELECTION: endpoint})
                assert (answer.status_code, answer.headers[SERVED]) == (200, endpoint)
                assert answer.json()["port"] == int(ports[0].rpartition(":")[2])
