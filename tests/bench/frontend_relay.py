"""The smallest relays to one fixed model server: ``python -m tests.bench.frontend_relay KIND HOST:PORT``.

``http`` is the frontend's own server and client, ``aiohttp`` the same written with aiohttp, ``pump`` passes
bytes from socket to socket and knows nothing of HTTP: what the kernel and the event loop cost.
"""

import asyncio
import json
import sys
from typing import cast

import aiohttp
import uvloop
from aiohttp import web

from frontend.http.api import Reply, Request, UpstreamRequest
from frontend.http.client import UpstreamClient
from frontend.http.server import HttpServer

_OWN = frozenset(("host", "content-length", "connection", "transfer-encoding", "date", "server"))


async def _http(engine: str) -> int:
    client = UpstreamClient()

    async def relay(request: Request, reply: Reply) -> None:
        headers = tuple(request.headers.items())
        response = await client.send(
            UpstreamRequest(engine, request.method, request.path, headers, request.body)
        )
        reply.start(response.status, tuple(response.headers.items()))
        await response.pipe(reply)
        reply.end()

    return await HttpServer(relay).start("127.0.0.1", 0)


async def _aiohttp(engine: str) -> int:
    session = aiohttp.ClientSession(
        auto_decompress=False, connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(None)
    )

    async def relay(request: web.BaseRequest) -> web.StreamResponse:
        body = await request.read()
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _OWN}
        url = f"http://{engine}{request.path}"
        async with session.request(request.method, url, data=body, headers=headers) as response:
            if "content-length" in response.headers:
                whole = await response.read()
                return web.Response(status=response.status, body=whole, content_type=response.content_type)
            reply = web.StreamResponse(status=response.status)
            reply.content_type = response.content_type
            await reply.prepare(request)
            async for piece in response.content.iter_any():
                await reply.write(piece)
            await reply.write_eof()
            return reply

    runner = web.ServerRunner(web.Server(relay, access_log=None))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port: int = runner.addresses[0][1]
    return port


class _Pump(asyncio.Protocol):
    def __init__(self, other: "_Pump | None" = None) -> None:
        self.other = other
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.close()


class _PumpToEngine(_Pump):
    """Accepts; bytes wait until the engine's side is there."""

    def __init__(self, engine: str) -> None:
        super().__init__()
        self._engine = engine
        self._early = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._connecting = asyncio.create_task(self._connect())

    def data_received(self, data: bytes) -> None:
        if self.other is None:
            self._early += data
        super().data_received(data)

    async def _connect(self) -> None:
        host, port = self._engine.split(":")
        loop = asyncio.get_running_loop()
        _, self.other = await loop.create_connection(lambda: _Pump(self), host, int(port))
        assert self.other.transport is not None
        self.other.transport.write(self._early)


async def _pump(engine: str) -> int:
    server = await asyncio.get_running_loop().create_server(lambda: _PumpToEngine(engine), "127.0.0.1", 0)
    port: int = server.sockets[0].getsockname()[1]
    return port


async def _serve(kind: str, engine: str) -> None:
    port = await {"http": _http, "aiohttp": _aiohttp, "pump": _pump}[kind](engine)
    print(json.dumps({"event": "ready", "http_port": port}), flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(_serve(*sys.argv[1:]))
