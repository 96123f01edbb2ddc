"""What the suite's model servers are: they say who they are and what they were asked, over HTTP/1.1 or h2c.

The answer is that of Gateway API's echo-basic, as far as the suite reads it.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import h2.connection
import h2.events
from aiohttp import web
from h2.config import H2Configuration
from h2.exceptions import ProtocolError

_READ_BYTES = 1 << 16
_SHUTDOWN_S = 1.0


@asynccontextmanager
async def echoing(address: str, environment: Mapping[str, str]) -> AsyncIterator[None]:
    """One container at its pod's address, on the ports of its environment."""
    who = {"namespace": environment["NAMESPACE"], "pod": environment["POD_NAME"]}
    port = int(environment.get("HTTP_PORT", "3000"))
    if "INCLUDE_HTTP_PORT_HEADER" in environment:
        who["httpPort"] = str(port)

    async def answer(request: web.Request) -> web.Response:
        await request.read()
        body = _said(who, request.method, request.raw_path, request.host, request.headers)
        return web.Response(body=body, content_type="application/json")

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=_SHUTDOWN_S)
    await runner.setup()
    await web.TCPSite(runner, address, port).start()
    h2c = await asyncio.start_server(
        lambda reader, writer: _serve_h2c(who, reader, writer),
        address,
        int(environment.get("H2C_PORT", "3001")),
    )
    try:
        yield
    finally:
        h2c.close()
        await runner.cleanup()


def _said(who: Mapping[str, str], method: str, path: str, host: str, headers: Mapping[str, str]) -> bytes:
    request = {
        "path": path,
        "host": host,
        "method": method,
        "headers": {k.title(): [v] for k, v in headers.items()},
    }
    return json.dumps({**who, **request}).encode()


async def _serve_h2c(
    who: Mapping[str, str], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    connection = h2.connection.H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
    connection.initiate_connection()
    asked: dict[int, dict[str, str]] = {}
    try:
        while not writer.is_closing():
            writer.write(connection.data_to_send())
            data = await reader.read(_READ_BYTES)
            if not data:
                break
            for event in connection.receive_data(data):
                _react(connection, event, asked, who)
    except (ConnectionError, ProtocolError):
        pass  # the proxy left, or it was no HTTP/2
    finally:
        writer.close()


def _react(
    connection: h2.connection.H2Connection,
    event: Any,
    asked: dict[int, dict[str, str]],
    who: Mapping[str, str],
) -> None:
    if isinstance(event, h2.events.RequestReceived):
        asked[event.stream_id] = dict(event.headers)
    elif isinstance(event, h2.events.DataReceived):
        connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
    elif isinstance(event, h2.events.StreamEnded):
        headers = asked.pop(event.stream_id)
        body = _said(who, headers[":method"], headers[":path"], headers.get(":authority", ""), headers)
        connection.send_headers(event.stream_id, [(":status", "200"), ("content-type", "application/json")])
        connection.send_data(event.stream_id, body, end_stream=True)
