"""TensorRT-LLM's events over HTTP, from a server that hands them out once."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from epp.core.endpoints import Endpoint, EngineKind
from epp.kvevents.trtllm import events_url
from tests.integration.peers import listening

from .conftest import Listening, eventually


class EventServer:
    def __init__(self) -> None:
        self.queue: list[dict[str, Any]] = []
        self.requests: list[bytes] = []
        self.status = "200 OK"
        self.port = 0

    def store(self, event_id: int, parent: int | None, *names: int) -> None:
        blocks = [
            {"block_hash": name, "tokens": [{"token_id": name}, {"token_id": name}], "cache_level": 0}
            for name in names
        ]
        data = {"type": "stored", "parent_hash": parent, "blocks": blocks}
        self.queue.append({"event_id": event_id, "window_size": 128, "data": data})

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            self.requests.append(await reader.readuntil(b"\r\n\r\n"))
            queue, self.queue = self.queue, []
            body = msgspec.json.encode(queue)
            head = f"HTTP/1.1 {self.status}\r\nContent-Length: {len(body)}\r\n\r\n"
            writer.write(head.encode() + body)


@pytest.fixture
async def server() -> AsyncIterator[EventServer]:
    one = EventServer()
    async with listening(one.serve) as one.port:
        yield one


def worker(server: EventServer, path: str = "") -> Endpoint:
    return Endpoint(
        name="trt",
        address="127.0.0.1",
        port=server.port,
        worker_id=1,
        engine=EngineKind.TRTLLM,
        kv_events=f"http://127.0.0.1:{server.port}{path}",
    )


async def test_events_are_asked_for_and_applied(server: EventServer, listening: Listening) -> None:
    server.store(1, None, 5, 6)
    async with listening.to(worker(server)):
        await eventually(lambda: listening.view() == [5, 6])
        server.store(2, 6, 7)
        await eventually(lambda: listening.view() == [5, 6, 7])
    assert server.requests[0].startswith(b"POST /kv_cache_events HTTP/1.1\r\n")
    assert len(listening.reports) == 2


async def test_a_gap_in_event_ids_drops_the_view(server: EventServer, listening: Listening) -> None:
    server.store(1, None, 5, 6)
    async with listening.to(worker(server)):
        await eventually(lambda: listening.view() == [5, 6])
        server.store(9, None, 7, 8)
        await eventually(lambda: listening.view() == [7, 8])
    assert listening.metrics.reasons == ["lost"]


async def test_an_error_drops_the_view_once_and_is_survived(
    server: EventServer, listening: Listening
) -> None:
    server.store(1, None, 5, 6)
    async with listening.to(worker(server)):
        await eventually(lambda: listening.view() == [5, 6])
        server.status = "500 Internal Server Error"
        await eventually(lambda: listening.metrics.ups == [False])
        server.status = "200 OK"
        await eventually(lambda: listening.metrics.ups == [False, True])
        server.store(2, None, 7, 8)
        await eventually(lambda: listening.view() == [7, 8])
    assert listening.metrics.reasons == ["lost"]


def test_the_path_can_be_given_or_left_to_us(server: EventServer) -> None:
    assert events_url(worker(server)).target == "/kv_cache_events"
    assert events_url(worker(server, "/")).target == "/kv_cache_events"
    assert events_url(worker(server, "/behind/proxy")).target == "/behind/proxy"
