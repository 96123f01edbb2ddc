"""The picker and the frontend, as processes, over pods of a real API server."""

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import grpc.aio
import httpx
import pytest
from envoy.service.ext_proc.v3 import external_processor_pb2 as messages

from epp.testing.calls import request_headers
from epp.testing.process import ChildProcess
from tests.integration.kubernetes.conftest import DEADLINE_S, Space
from tests.integration.peers import listening

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(1500)]
MODELS = b'{"object": "list", "data": [{"id": "here", "object": "model", "max_model_len": 2048}]}'
PICKER = ("--grpc-port=0", "--grpc-health-port=0", "--metrics-port=0", "--secure-serving=false")


async def until(true: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not await true():
            await asyncio.sleep(0.02)


TOKEN = {"token": "picker-token"}


def child(space: Space, folder: Path, name: str, *argv: str, user: Mapping[str, Any] = TOKEN) -> ChildProcess:
    kubeconfig = space.server.kubeconfig(space.name, user)
    shared = ("--pool-name=pool", f"--pool-namespace={space.name}", f"--kubeconfig={kubeconfig}")
    return ChildProcess(name, [sys.executable, "-m", *argv, *shared], folder / f"{name}.log")


class Asking:
    """Requests without a body, one stream each."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._call = channel.stream_stream("/envoy.service.ext_proc.v3.ExternalProcessor/Process")

    async def pick(self) -> str | None:
        """Where it goes; None: nowhere."""
        stream = self._call(timeout=60)
        await stream.write(request_headers({":method": "GET", ":path": "/v1/models"}, end_of_stream=True))
        answer = messages.ProcessingResponse.FromString(await stream.read())
        stream.cancel()
        found = answer.dynamic_metadata.fields["envoy.lb"].struct_value.fields
        return found["x-gateway-destination-endpoint"].string_value or None

    async def picks(self, count: int) -> set[str | None]:
        return {await self.pick() for _ in range(count)}


class Picker:
    """A running picker: its pages and its picks."""

    def __init__(self, page: httpx.AsyncClient, asking: Asking) -> None:
        self.page, self.asking = page, asking

    async def discovers(self, words: str) -> bool:
        """Whether discovery says that; it says ``ok`` when all is well."""
        said: str = (await self.page.get("/readyz")).json()["parts"]["discovery"]
        return said == words if words == "ok" else words in said


@asynccontextmanager
async def running(space: Space, folder: Path, user: Mapping[str, Any] = TOKEN) -> AsyncIterator[Picker]:
    argv = ("epp", "serve", *PICKER, "--no-scrape-metrics")
    async with (
        child(space, folder, "picker", *argv, user=user) as picker,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{picker.ready['metrics_port']}") as page,
        grpc.aio.insecure_channel(f"127.0.0.1:{picker.ready['grpc_port']}") as channel,
    ):
        yield Picker(page, Asking(channel))


async def test_picks_follow_the_pods(space: Space, tmp_path: Path) -> None:
    """Nobody is picked who is not Ready, and somebody who is gone never again."""
    space.add_pool("a", 8000, 8001)
    async with running(space, tmp_path) as picker:
        page, asking = picker.page, picker.asking
        await until(lambda: picker.discovers("selects 0 pods"))
        assert (await page.get("/readyz")).status_code == 503
        assert await asking.pick() is None
        for i in range(3):
            space.add(f"w{i}", f"127.9.0.{i + 1}", ready=i < 2)
        one, other = ({f"127.9.0.{i}:8000", f"127.9.0.{i}:8001"} for i in (1, 2))
        await until(lambda: _are(asking, one | other))
        space.remove("w0")

        async def gone() -> bool:
            return not one & await asking.picks(20)

        await until(gone)
        assert await asking.picks(100) == other


async def test_an_outage_is_told_and_picks_go_on(space: Space, tmp_path: Path) -> None:
    space.add_pool()
    space.add("w", "127.9.0.1")
    here = {"127.9.0.1:8000"}
    failures = 'epp_discovery_updates_total{outcome="read"}'
    async with running(space, tmp_path) as picker:
        await until(lambda: picker.discovers("ok"))
        assert failures not in (await picker.page.get("/metrics")).text
        await space.server.kill()
        try:
            await until(lambda: picker.discovers("the Kubernetes API at 127.0.0.1"))
            assert failures in (await picker.page.get("/metrics")).text
            assert (await picker.page.get("/readyz")).status_code == 200
            assert await picker.asking.picks(20) == here
        finally:
            await space.server.start()
        await until(lambda: picker.discovers("ok"))


async def _are(asking: Asking, expected: set[str]) -> bool:
    return await asking.picks(40) == expected


@asynccontextmanager
async def model_server() -> AsyncIterator[int]:
    """Lists one model, and knows nothing else; its port."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.readuntil(b"\r\n\r\n"):
            body = MODELS if b" /v1/models " in head.split(b"\r\n")[0] else b"{}"
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n")
            writer.write(b"Content-Length: %d\r\n\r\n%b" % (len(body), body))

    async with listening(answer) as port:
        yield port


async def test_the_frontend_serves_the_pods_of_a_pool(space: Space, tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        port = await stack.enter_async_context(model_server())
        space.add_pool("a", port)
        flags = ("--http-host=127.0.0.1", "--http-port=0", "--discovery-backend=kubernetes")
        frontend = child(space, tmp_path, "frontend", "frontend", *flags)
        await stack.enter_async_context(frontend)
        client = await stack.enter_async_context(
            httpx.AsyncClient(base_url=f"http://127.0.0.1:{frontend.ready['http_port']}", timeout=60)
        )

        async def listed(count: int) -> bool:
            return len((await client.get("/v1/models")).json()["data"]) == count

        await until(lambda: listed(0))
        space.add("w", "127.0.0.1")
        await until(lambda: listed(1))
        space.be("w", "127.0.0.1", ready=False)
        await until(lambda: listed(0))
