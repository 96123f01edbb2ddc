"""The picker and the frontend, as processes, over an etcd that workers register with."""

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import httpx

from epp.testing.process import ChildProcess
from tests.integration.discovery.conftest import DEADLINE_S, Etcd
from tests.integration.peers import listening

MODELS = b'{"object": "list", "data": [{"id": "here", "object": "model", "max_model_len": 2048}]}'


@contextlib.asynccontextmanager
async def worker() -> AsyncIterator[int]:
    """A model server that lists one model, and knows nothing else; its port."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.readuntil(b"\r\n\r\n"):
            body = MODELS if b" /v1/models " in head.split(b"\r\n")[0] else b"{}"
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n")
            writer.write(b"Content-Length: %d\r\n\r\n%b" % (len(body), body))

    async with listening(answer) as port:
        yield port


def child(etcd: Etcd, folder: Path, name: str, *argv: str) -> ChildProcess:
    shared = (f"--etcd-endpoints={etcd.url}", "--etcd-prefix=/t/")
    return ChildProcess(name, [sys.executable, "-m", *argv, *shared], folder / f"{name}.log")


def registration(etcd: Etcd, folder: Path, port: int, namespace: str) -> ChildProcess:
    entry = json.dumps({"namespace": namespace, "kv_events": None})
    place = ("--address=127.0.0.1", f"--port={port}", "--ttl=2")
    return child(
        etcd, folder, f"register-{namespace}", "epp", "register", f"--name=w-{port}", *place, "--entry", entry
    )


async def until(true: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while True:
            if await true():
                return
            await asyncio.sleep(0.02)


async def test_the_frontend_serves_what_registers_in_its_namespace(etcd: Etcd, tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        mine, other = [await stack.enter_async_context(worker()) for _ in range(2)]
        flags = ("--http-host=127.0.0.1", "--http-port=0", "--namespace-prefix=mine")
        enough = ("--router-min-initial-workers=1", "--discovery-backend=etcd")
        frontend = child(etcd, tmp_path, "frontend", "frontend", *flags, *enough)
        await stack.enter_async_context(registration(etcd, tmp_path, other, "theirs"))
        starting = asyncio.create_task(stack.enter_async_context(frontend))
        await until(lambda: asyncio.to_thread(lambda: "waiting for 1 workers" in frontend.log_tail()))
        assert not starting.done()
        registered = await stack.enter_async_context(registration(etcd, tmp_path, mine, "mine-abc"))
        await starting
        client = await stack.enter_async_context(
            httpx.AsyncClient(base_url=f"http://127.0.0.1:{frontend.ready['http_port']}", timeout=60)
        )

        async def listed(count: int) -> bool:
            return len((await client.get("/v1/models")).json()["data"]) == count

        await until(lambda: listed(1))
        await registered.stop()
        await until(lambda: listed(0))


async def test_the_picker_picks_from_what_registers(etcd: Etcd, tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        port = await stack.enter_async_context(worker())
        flags = ("--grpc-port=0", "--grpc-health-port=0", "--metrics-port=0", "--secure-serving=false")
        picker = child(etcd, tmp_path, "picker", "epp", "serve", "--discovery-backend=etcd", *flags)
        await stack.enter_async_context(picker)
        client = await stack.enter_async_context(
            httpx.AsyncClient(base_url=f"http://127.0.0.1:{picker.ready['metrics_port']}", timeout=60)
        )

        async def is_ready() -> bool:
            return (await client.get("/readyz")).status_code == 200

        assert not await is_ready()
        await stack.enter_async_context(registration(etcd, tmp_path, port, "default"))
        await until(is_ready)
        await etcd.kill()

        async def says_so() -> bool:
            answer = await client.get("/readyz?verbose")
            return answer.status_code == 200 and "etcd at" in answer.text

        await until(says_so)
