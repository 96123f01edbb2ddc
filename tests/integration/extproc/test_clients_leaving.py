"""Clients that leave, at every phase: nothing stays booked."""

import asyncio

import pytest

from epp.testing.backend import EchoBackend
from epp.testing.envoy_config import BodyModeName, EnvoyOptions

from .conftest import Answering, running_door, staged, until

MODES = (BodyModeName.FULL_DUPLEX_STREAMED, BodyModeName.BUFFERED)


async def connect(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", port)


def head(length: int, **headers: str) -> bytes:
    lines = [f"{k.replace('_', '-')}: {v}\r\n" for k, v in headers.items()]
    return f"POST /x HTTP/1.1\r\nhost: t\r\ncontent-length: {length}\r\n{''.join(lines)}\r\n".encode()


@pytest.mark.envoy
@pytest.mark.parametrize("mode", MODES)
async def test_a_client_that_leaves_in_its_body_is_never_picked_for(
    destination: Answering, mode: BodyModeName
) -> None:
    async with running_door(destination) as door, staged(door, EnvoyOptions((), request_body=mode)) as stage:
        _, writer = await connect(stage.envoy.port)
        writer.write(head(1000) + b"x" * 10)
        await until(lambda: door.server.open_streams == 1)
        writer.transport.abort()
        await until(lambda: door.server.open_streams == 0)
        assert door.engine.requests == []


@pytest.mark.envoy
@pytest.mark.parametrize("mode", MODES)
async def test_a_client_that_leaves_during_the_pick_cancels_it(
    destination: Answering, mode: BodyModeName
) -> None:
    async with running_door(destination) as door, staged(door, EnvoyOptions((), request_body=mode)) as stage:
        door.engine.delay_s = 60.0
        _, writer = await connect(stage.envoy.port)
        writer.write(head(10) + b"x" * 10)
        await until(lambda: len(door.engine.requests) == 1)
        writer.transport.abort()
        await until(lambda: door.engine.cancelled == 1 and door.server.open_streams == 0)
        assert (door.engine.unfinished, door.engine.finished) == (0, [])


@pytest.mark.envoy
@pytest.mark.parametrize("mode", MODES)
async def test_a_client_that_leaves_before_the_response_frees_its_pick(
    backend: EchoBackend, destination: Answering, mode: BodyModeName
) -> None:
    async with running_door(destination) as door, staged(door, EnvoyOptions((), request_body=mode)) as stage:
        _, writer = await connect(stage.envoy.port)
        writer.write(head(10, x_pause_ms="60000") + b"x" * 10)
        await until(lambda: len(backend.received) == 1)
        writer.transport.abort()
        assert await door.settled(1) == ["client-gone"]


@pytest.mark.envoy
@pytest.mark.parametrize("bodies", [BodyModeName.NONE, BodyModeName.FULL_DUPLEX_STREAMED])
async def test_a_client_that_leaves_during_the_response_frees_its_pick(
    destination: Answering, bodies: BodyModeName
) -> None:
    options = EnvoyOptions((), response_body=bodies)
    async with running_door(destination) as door, staged(door, options) as stage:
        reader, writer = await connect(stage.envoy.port)
        writer.write(head(10, x_events="1000", x_pause_ms="50") + b"x" * 10)
        await reader.readuntil(b"data:")
        writer.transport.abort()
        expected = "completed" if bodies is BodyModeName.NONE else "client-gone"
        assert await door.settled(1) == [expected]


@pytest.mark.envoy
async def test_many_clients_leaving_at_once_leave_nothing_behind(destination: Answering) -> None:
    async with running_door(destination) as door, staged(door, EnvoyOptions(())) as stage:
        door.engine.delay_s = 0.05
        writers = []
        for number in range(200):
            _, writer = await connect(stage.envoy.port)
            writer.write(head(100, x_pause_ms="200") + b"x" * (100 if number % 2 else 40))
            writers.append(writer)
        await until(lambda: len(door.engine.requests) > 20)
        for writer in writers:
            writer.transport.abort()
        await until(lambda: door.server.open_streams == 0)
        assert door.engine.unfinished == 0
        assert not door.metrics.counts["error out-of-order"]
