"""gRPC calls pass untouched: unary, bidirectional, trailers and statuses."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from epp.config.model import ServerConfig
from epp.core.outcomes import DropReason, PickInput, PickOutcome, Refused
from epp.testing.envoy_config import BodyModeName, EnvoyOptions, Upstream
from epp.testing.picks import always

from .conftest import PLAIN, Stage, running_door, staged

pytestmark = pytest.mark.envoy
DUPLEX, NONE = BodyModeName.FULL_DUPLEX_STREAMED, BodyModeName.NONE


class EchoService:
    """A bidirectional method that answers each message at once, and a unary one that fails."""

    async def chat(self, requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        context.set_trailing_metadata((("x-trailer", "yes"),))
        async for request in requests:
            yield request[::-1]

    async def fail(self, _request: bytes, context: Any) -> bytes:
        await context.abort(grpc.StatusCode.NOT_FOUND, "no such thing")
        return b""


@pytest.fixture
async def echo_port() -> AsyncIterator[int]:
    service, server = EchoService(), grpc.aio.server()
    methods = {
        "Chat": grpc.stream_stream_rpc_method_handler(service.chat),
        "Fail": grpc.unary_unary_rpc_method_handler(service.fail),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Echo", methods),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield port
    await server.stop(0)


async def chat(stage: Stage) -> None:
    """Every message is answered before the next one is sent, so nothing is held back on the way."""
    async with grpc.aio.insecure_channel(f"127.0.0.1:{stage.envoy.port}") as channel:
        call = channel.stream_stream("/test.Echo/Chat")()
        for number in range(5):
            message = bytes([number]) * (number * 40_000 + 1) + b"end"
            await call.write(message)
            assert await asyncio.wait_for(call.read(), 60) == message[::-1]
        await call.done_writing()
        assert await call.read() == grpc.aio.EOF
        assert await call.code() is grpc.StatusCode.OK
        assert dict(await call.trailing_metadata())["x-trailer"] == "yes"


@pytest.mark.parametrize("response_body", [NONE, DUPLEX])
@pytest.mark.parametrize("upstream", list(Upstream))
async def test_bidirectional_calls(echo_port: int, response_body: BodyModeName, upstream: Upstream) -> None:
    options = EnvoyOptions(
        (),
        endpoints=[f"127.0.0.1:{echo_port}"],
        upstream=upstream,
        response_body=response_body,
        downstream_h2=True,
        upstream_h2=True,
    )
    async with running_door(always(f"127.0.0.1:{echo_port}")) as door, staged(door, options) as stage:
        await chat(stage)
        assert await door.settled(1) == ["completed"]
        assert door.engine.requests[0].body is None


@pytest.mark.parametrize("config", [PLAIN, dataclasses.replace(PLAIN, skip_response=True)])
async def test_failed_calls_keep_their_status(echo_port: int, config: ServerConfig) -> None:
    options = EnvoyOptions((), response_body=DUPLEX, downstream_h2=True, upstream_h2=True)
    async with running_door(always(f"127.0.0.1:{echo_port}"), config) as door, staged(door, options) as stage:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{stage.envoy.port}") as channel:
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await channel.unary_unary("/test.Echo/Fail")(b"x", timeout=60)
        assert (raised.value.code(), raised.value.details()) == (grpc.StatusCode.NOT_FOUND, "no such thing")
        await door.settled(1)


async def test_refused_calls_get_a_grpc_status(echo_port: int) -> None:
    def answer(_request: PickInput) -> PickOutcome:
        return Refused(503, "nobody", DropReason.NO_ENDPOINTS)

    options = EnvoyOptions((), downstream_h2=True, upstream_h2=True)
    async with running_door(answer) as door, staged(door, options) as stage:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{stage.envoy.port}") as channel:
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await channel.unary_unary("/test.Echo/Fail")(b"x", timeout=60)
        assert raised.value.code() is grpc.StatusCode.UNAVAILABLE
