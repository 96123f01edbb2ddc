"""A model server that costs nearly nothing: ``python -m tests.bench.frontend_engine [PORTS]``.

Answers any request with a small JSON body, or, with ``x-events: N``, with N chunks of about 100 bytes,
``x-pause-ms`` apart. Listens on as many ports as it is told, so that there are workers to choose among.
"""

import asyncio
import json
import sys
from typing import Any, cast

import httptools
import uvloop

MODEL = "bench"


def _whole(value: dict[str, Any]) -> bytes:
    body = json.dumps(value).encode()
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body)
    return head + body


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


_USAGE = {"prompt_tokens": 250, "completion_tokens": 60, "total_tokens": 310}
_MESSAGE = {"role": "assistant", "content": "x" * 300}
_ANSWER = _whole(
    {"id": "c-1", "choices": [{"index": 0, "message": _MESSAGE, "finish_reason": "stop"}], "usage": _USAGE}
)
_MODELS = _whole({"object": "list", "data": [{"id": MODEL, "object": "model", "max_model_len": 32768}]})
_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
_CHOICE = b'data: {"id":"c-1","choices":[{"index":0,"delta":{"content":"%b"},"token_ids":[7]%b}]}\n\n'
_EVENT = _chunk(_CHOICE % (b"y" * 30, b""))
_LAST = _chunk(_CHOICE % (b"y", b',"finish_reason":"stop"') + b"data: [DONE]\n\n") + b"0\r\n\r\n"


class _Engine(asyncio.Protocol):
    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._whole = _ANSWER
        self._events = 0
        self._pause_s = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        self._whole = _MODELS if url == b"/v1/models" else _ANSWER

    def on_header(self, name: bytes, value: bytes) -> None:
        if name == b"x-events":
            self._events = int(value)
        elif name == b"x-pause-ms":
            self._pause_s = int(value) / 1000

    def on_message_complete(self) -> None:
        assert self._transport is not None
        if self._events:
            self._transport.write(_HEAD)
            self._next_event()
        else:
            self._transport.write(self._whole)

    def _next_event(self) -> None:
        if self._transport is None:
            return
        self._events -= 1
        if self._events:
            self._transport.write(_EVENT)
            self._loop.call_later(self._pause_s, self._next_event)
        else:
            self._transport.write(_LAST)


async def _serve(count: int) -> None:
    loop = asyncio.get_running_loop()
    servers = [await loop.create_server(lambda: _Engine(loop), "127.0.0.1", 0) for _ in range(count)]
    ports = [server.sockets[0].getsockname()[1] for server in servers]
    print(json.dumps({"event": "ready", "http_ports": ports}), flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1]) if len(sys.argv) > 1 else 1))
