"""What must not harm a picker: clients that leave, gateways that err, many at a time."""

import asyncio
import dataclasses
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

import grpc

from epp.conformance import messages
from epp.conformance.bench import Bench, picked
from epp.conformance.cases import sources
from epp.conformance.exchange import Exchange, Request
from epp.conformance.model import Case, FailedError, Level, Need, SkippedError, case

_TIMES: Final = 12
"""How often a disturbance is repeated before the next request has to be answered."""
_LONGER_S: Final = 0.002
"""Each client that leaves stays this much longer than the one before, to meet the picker at work."""
_CONCURRENT: Final = 64
_END_S: Final = 1.0
"""How long a disturbed stream may stay open before the gateway gives up on it."""


@case("resilience.cancelled-head", Level.REQUIRED, sources.AVAILABILITY)
async def cancelled_head(bench: Bench) -> str:
    """Clients that leave after the head do no harm."""
    return await _left(bench, [_head(bench)])


@case("resilience.cancelled-body", Level.REQUIRED, sources.AVAILABILITY, Need.DUPLEX)
async def cancelled_body(bench: Bench) -> str:
    """Clients that leave in the middle of the body do no harm."""
    return await _left(bench, [_head(bench), messages.request_body(b'{"model"', end_of_stream=False)])


@case("resilience.cancelled-pick", Level.REQUIRED, sources.AVAILABILITY, Need.DUPLEX)
async def cancelled_pick(bench: Bench) -> str:
    """Clients that leave while the picker thinks do no harm."""
    body = messages.request_body(bench.chat_of(20_000), end_of_stream=True)
    return await _left(bench, [_head(bench), body])


@case("resilience.cancelled-picked", Level.REQUIRED, sources.AVAILABILITY)
async def cancelled_picked(bench: Bench) -> str:
    """Clients that leave before the response do no harm."""
    for _ in range(_TIMES):
        picked(await bench.ask(bench.plain))
    return await _healthy(bench)


@case("resilience.cancelled-response", Level.REQUIRED, sources.AVAILABILITY, Need.DUPLEX)
async def cancelled_response(bench: Bench) -> str:
    """Clients that leave in the middle of the response do no harm."""
    for _ in range(_TIMES):
        async with bench.open(bench.plain) as exchange:
            chosen = picked(await exchange.ask())
            head = {":status": "200", "content-type": "text/event-stream"}
            with suppress(SkippedError):  # a picker that closes after its pick has nothing to be left
                await exchange.respond_head(head, chosen[0])
                await exchange.send(messages.response_body(b"data: 1\n\n", chosen[0], end_of_stream=False))
    return await _healthy(bench)


@case("resilience.half-closed", Level.REQUIRED, sources.GRPC)
async def half_closed(bench: Bench) -> str:
    """A stream that the gateway ends in good order after the pick, without a response, does no harm."""
    for _ in range(_TIMES):
        async with bench.open(bench.plain) as exchange:
            picked(await exchange.ask())
            await exchange.call.done_writing()
    return await _healthy(bench)


@case("resilience.concurrent", Level.REQUIRED, sources.AVAILABILITY)
async def concurrent(bench: Bench) -> str:
    """Sixty-four requests at a time are all answered, each with its own body."""
    bodies = [bench.chat(f"request number {number} of many") for number in range(_CONCURRENT)]
    replies = await asyncio.gather(
        *(bench.ask(dataclasses.replace(bench.plain, pieces=[body])) for body in bodies)
    )
    for number, reply in enumerate(replies):
        picked(reply)
        if f"request number {number} of many".encode() not in reply.body:
            raise FailedError(f"request {number} got another's body back")
    return f"{len(replies)} answered"


@case("resilience.interleaved", Level.REQUIRED, sources.AVAILABILITY)
async def interleaved(bench: Bench) -> str:
    """Thirty-two streams whose clients have sent nothing but a head hold nobody up."""
    waiting = [bench.open(bench.plain) for _ in range(_CONCURRENT // 2)]
    try:
        for exchange in waiting:
            await exchange.send(_head(bench))
        return await _healthy(bench)
    finally:
        for exchange in waiting:
            exchange.call.cancel()


@case("resilience.body-first", Level.REQUIRED, sources.AVAILABILITY)
async def body_first(bench: Bench) -> str:
    """A body without a head does no harm to others."""
    return await _disturbed(bench, [messages.request_body(bench.chat(), end_of_stream=True)])


@case("resilience.trailers-first", Level.REQUIRED, sources.AVAILABILITY)
async def trailers_first(bench: Bench) -> str:
    """Trailers without a head do no harm to others."""
    return await _disturbed(bench, [messages.request_trailers({"x": "1"})])


@case("resilience.two-heads", Level.REQUIRED, sources.AVAILABILITY)
async def two_heads(bench: Bench) -> str:
    """A second head on a stream does no harm to others."""
    return await _disturbed(bench, [_head(bench), _head(bench)])


@case("resilience.response-first", Level.REQUIRED, sources.AVAILABILITY)
async def response_first(bench: Bench) -> str:
    """A response to a request nobody made does no harm to others."""
    return await _disturbed(bench, [messages.response_head({":status": "200"}, None)])


@case("resilience.early-response", Level.REQUIRED, sources.AVAILABILITY)
async def early_response(bench: Bench) -> str:
    """A response while the request is still coming, as when the gateway answers by itself, does no harm."""
    return await _disturbed(bench, [_head(bench), messages.response_head({":status": "408"}, None)])


@case("resilience.nothing", Level.REQUIRED, sources.AVAILABILITY)
async def nothing(bench: Bench) -> str:
    """A message without content does no harm to others."""
    return await _disturbed(bench, [b""])


@case("resilience.garbage", Level.REQUIRED, sources.AVAILABILITY)
async def garbage(bench: Bench) -> str:
    """Bytes that are no message do no harm to others."""
    return await _disturbed(bench, [b"\xff" * 32])


def _head(bench: Bench) -> bytes:
    request = Request([bench.chat()])
    return messages.request_head(request.head(), end_of_stream=False, modes=bench.plain.modes)


async def _left(bench: Bench, outgoing: Sequence[bytes]) -> str:
    for attempt in range(_TIMES):
        async with bench.open(bench.plain) as exchange:
            await exchange.send(*outgoing)
            await asyncio.sleep(attempt * _LONGER_S)
    return await _healthy(bench)


async def _disturbed(bench: Bench, outgoing: Sequence[bytes]) -> str:
    ways: set[str] = set()
    for _ in range(_TIMES // 6):
        async with bench.open(bench.plain) as exchange:
            await exchange.send(*outgoing)
            ways.add(await _ending(exchange))
    return f"{' or '.join(sorted(ways))}; {await _healthy(bench)}"


async def _ending(exchange: Exchange) -> str:
    """How the picker ended a disturbed stream, in words."""
    said = "answered"
    try:
        async with asyncio.timeout(_END_S):
            await exchange.call.done_writing()
            while isinstance(await exchange.call.read(), bytes):
                said = "answered and ended"
    except TimeoutError:
        return "left open"
    except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
        return "dropped"
    return said if said == "answered and ended" else "ended"


async def _healthy(bench: Bench) -> str:
    try:
        picked(await bench.ask(bench.plain))
    except FailedError as error:
        raise FailedError(f"the next request: {error}") from error
    return "the next request was answered"


CASES: tuple[Case, ...] = (
    cancelled_head,
    cancelled_body,
    cancelled_pick,
    cancelled_picked,
    cancelled_response,
    half_closed,
    concurrent,
    interleaved,
    body_first,
    trailers_first,
    two_heads,
    response_first,
    early_response,
    nothing,
    garbage,
)
