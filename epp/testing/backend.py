"""A tiny HTTP/1.1 model server stand-in: says what it received, streams when asked to."""

import asyncio
import contextlib
import gzip
import hashlib
import json
from dataclasses import dataclass
from typing import Final, Self

_MAX_HEAD_BYTES: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class Received:
    """One request as it arrived."""

    method: str
    path: str
    headers: dict[str, str]
    body_bytes: int
    body_sha256: str


class EchoBackend:
    """Answers with JSON ``{"port", "sha256", "bytes"}``; ``x-events: N`` makes it N server-sent events,
    ``x-pause-ms`` is waited before the body and between events, ``x-model`` is its model's name,
    ``x-piece-bytes`` cuts the events into pieces of that length, ``x-gzip`` compresses an unstreamed answer.
    """

    def __init__(self, host: str = "127.0.0.1", port: int = 0) -> None:
        """``host``: the loopback address it listens on; port 0: the kernel chooses."""
        self.received: list[Received] = []
        self.port = port
        self._host = host
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[object]] = set()

    @property
    def host_port(self) -> str:
        """``ip:port``."""
        return f"{self._host}:{self.port}"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(
            self._serve, self._host, self.port, limit=_MAX_HEAD_BYTES, backlog=4096
        )
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_error: object) -> None:
        assert self._server is not None
        self._server.close()
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = asyncio.current_task()
        assert connection is not None
        self._connections.add(connection)
        try:
            while await self._exchange(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client left, or the test is over
        finally:
            self._connections.discard(connection)
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        except asyncio.IncompleteReadError:
            return False
        method, path, _ = head[0].split(" ", 2)
        headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in head[1:] if line)}
        digest, size = await _read_body(reader, headers)
        received = Received(method, path, headers, size, digest)
        self.received.append(received)
        await self._answer(received, writer)
        return True

    async def _answer(self, received: Received, writer: asyncio.StreamWriter) -> None:
        pause_s = float(received.headers.get("x-pause-ms", "0")) / 1000
        model = {"model": received.headers["x-model"]} if "x-model" in received.headers else {}
        answer = {
            **model,
            "port": self.port,
            "sha256": received.body_sha256,
            "bytes": received.body_bytes,
            "usage": {"prompt_tokens": 11, "completion_tokens": 7},
        }
        if events := int(received.headers.get("x-events", "0")):
            cut = int(received.headers.get("x-piece-bytes", "0"))
            await _stream(writer, _pieces([json.dumps(answer)] * events, cut), pause_s)
            return
        if pause_s:
            await asyncio.sleep(pause_s)
        body = json.dumps(answer).encode()
        encoding = ""
        if "x-gzip" in received.headers:
            body, encoding = gzip.compress(body), "content-encoding: gzip\r\n"
        kind = f"content-type: application/json\r\n{encoding}"
        head = f"HTTP/1.1 200 OK\r\n{kind}content-length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        await writer.drain()


def _pieces(events: list[str], cut: int) -> list[bytes]:
    """What is sent at a time: an event, or ``cut`` bytes."""
    whole = [f"data: {event}\n\n".encode() for event in events]
    if not cut:
        return whole
    stream = b"".join(whole)
    return [stream[at : at + cut] for at in range(0, len(stream), cut)]


async def _stream(writer: asyncio.StreamWriter, pieces: list[bytes], pause_s: float) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
    for data in pieces:
        await writer.drain()
        await asyncio.sleep(pause_s)
        writer.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
    writer.write(b"0\r\n\r\n")
    await writer.drain()


async def _read_body(reader: asyncio.StreamReader, headers: dict[str, str]) -> tuple[str, int]:
    digest, size = hashlib.sha256(), 0
    if "chunked" not in headers.get("transfer-encoding", ""):
        size = int(headers.get("content-length", "0"))
        digest.update(await reader.readexactly(size))
        return digest.hexdigest(), size
    while length := int(await reader.readuntil(b"\r\n"), 16):
        digest.update(await reader.readexactly(length))
        size += length
        await reader.readexactly(2)
    with contextlib.suppress(asyncio.IncompleteReadError):
        await reader.readline()
    return digest.hexdigest(), size
