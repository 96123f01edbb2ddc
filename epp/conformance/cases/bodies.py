"""Request bodies: the gateway has given them away and sends on what it gets back."""

import json
from collections.abc import Sequence

from epp.conformance import messages
from epp.conformance.bench import Bench, picked, tolerated
from epp.conformance.cases import sources
from epp.conformance.exchange import Exchange, Reply, Request
from epp.conformance.messages import BUFFERED
from epp.conformance.model import Case, FailedError, Level, Need, SkippedError, case

_MOST_PIECE_BYTES = 64 * 1024
"""What every Envoy build takes in one message; some refuse more."""
_ENVOY_PIECE_BYTES = 256 * 1024
"""About what Envoy sends in one message when a client is fast."""
_LARGE_BYTES = 1 << 20


@case("body.small", Level.REQUIRED, sources.MODES, Need.DUPLEX)
async def small(bench: Bench) -> str:
    """A body of one frame is given back whole."""
    return await _kept(bench, [bench.chat()])


@case("body.bytes", Level.RECOMMENDED, sources.MODES, Need.DUPLEX)
async def same_bytes(bench: Bench) -> str:
    """A body comes back byte for byte: spaces, order of keys, spelling of numbers and escapes."""
    tail = bench.chat("Caf\u00e9 \u2603", zeta=1, alpha=2)[1:]
    body = b' {\n\t"temperature" : 1.50e0 ,  "seed":12345678901234567890123, ' + tail + b"\r\n "
    reply = await bench.ask(Request([body]))
    picked(reply)
    if reply.body != body:
        raise FailedError(f"{len(body)} bytes came back as {len(reply.body)} others")
    return f"{len(body)} bytes came back as they were"


@case("body.small-frames", Level.REQUIRED, sources.MODES, Need.DUPLEX)
async def small_frames(bench: Bench) -> str:
    """A body in frames of one byte is given back whole."""
    body = bench.chat()
    return await _kept(bench, [body[at : at + 1] for at in range(len(body))])


@case("body.over-a-piece", Level.REQUIRED, sources.MODES, Need.DUPLEX)
async def over_a_piece(bench: Bench) -> str:
    """A body of 70 000 bytes in one frame, more than one piece, is given back whole."""
    return await _kept(bench, [bench.chat_of(70_000)])


@case("body.large", Level.REQUIRED, sources.MODES, Need.DUPLEX)
async def large(bench: Bench) -> str:
    """A body of 1 MiB in frames of 256 KiB is given back whole."""
    return await _kept(bench, _frames(bench.chat_of(_LARGE_BYTES)))


@case("body.pieces", Level.RECOMMENDED, sources.MODES, Need.DUPLEX)
async def pieces(bench: Bench) -> str:
    """No piece given back is longer than 64 KiB, the most some Envoy builds take."""
    reply = await bench.ask(Request(_frames(bench.chat_of(_LARGE_BYTES))))
    picked(reply)
    longest = max(reply.pieces, default=0)
    if longest > _MOST_PIECE_BYTES:
        raise FailedError(f"a piece of {longest} bytes")
    return f"{len(reply.pieces)} pieces, the longest of {longest} bytes"


@case("body.empty-end", Level.REQUIRED, sources.ISTIO, Need.DUPLEX)
async def empty_end(bench: Bench) -> str:
    """A body whose end is an empty frame of its own, as for HTTP/1 clients, is given back whole."""
    return await _kept(bench, [bench.chat(), b""])


@case("body.empty", Level.REQUIRED, sources.EXT_PROC, Need.DUPLEX)
async def empty(bench: Bench) -> str:
    """A POST whose body is one empty frame is refused with a 4xx, or sent on with an ended body."""
    return tolerated(await bench.ask(Request([b""])))


@case("body.one-byte", Level.REQUIRED, sources.EXT_PROC, Need.DUPLEX)
async def one_byte(bench: Bench) -> str:
    """A body of one byte is refused with a 4xx, or sent on as it is."""
    reply = await bench.ask(Request([b"1"]))
    said = tolerated(reply)
    if reply.status is None and reply.body != b"1":
        raise FailedError(f"the body came back as {reply.body!r}")
    return said


@case("body.second-end", Level.RECOMMENDED, sources.ENVOY_SECOND_END, Need.DUPLEX)
async def second_end(bench: Bench) -> str:
    """A second end of the same body, which Envoy 1.35 and later may send, changes nothing."""
    async with bench.open(Request([bench.chat()])) as exchange:
        await _respond(exchange)
    async with bench.open(Request([bench.chat()])) as exchange:
        try:
            await _respond(exchange, messages.request_body(b"", end_of_stream=True))
        except SkippedError:
            raise FailedError("the picker ended the stream") from None
    return "ignored, and the response passed"


@case("body.trailers", Level.REQUIRED, sources.MODES, Need.DUPLEX)
async def trailers(bench: Bench) -> str:
    """Trailers end a request: the body comes back, then the trailers are answered."""
    body = bench.chat()
    reply = await bench.ask(Request([body], trailers=True))
    picked(reply)
    return _compare(body, reply)


@case("body.buffered", Level.RECOMMENDED, sources.ENVOY_GATEWAY, Need.BUFFERED)
async def buffered(bench: Bench) -> str:
    """A BUFFERED body is answered once, plainly: it passes, or is replaced by the same document."""
    return await _kept(bench, [bench.chat()], buffered_mode=True)


@case("body.buffered-large", Level.RECOMMENDED, sources.ENVOY_GATEWAY, Need.BUFFERED)
async def buffered_large(bench: Bench) -> str:
    """A BUFFERED body of 1 MiB comes in one message and passes."""
    return await _kept(bench, [bench.chat_of(_LARGE_BYTES)], buffered_mode=True)


def _frames(body: bytes) -> list[bytes]:
    return [body[at : at + _ENVOY_PIECE_BYTES] for at in range(0, len(body), _ENVOY_PIECE_BYTES)]


async def _respond(exchange: Exchange, *between: bytes) -> None:
    chosen = picked(await exchange.ask())
    await exchange.send(*between)
    await exchange.respond_head({":status": "200", "content-type": "application/json"}, chosen[0])
    await exchange.respond_body([b"{}"], chosen[0])


async def _kept(bench: Bench, frames: Sequence[bytes], *, buffered_mode: bool = False) -> str:
    request = Request(frames, modes=BUFFERED) if buffered_mode else Request(frames)
    reply = await bench.ask(request)
    picked(reply)
    return _compare(b"".join(frames), reply)


def _compare(sent: bytes, reply: Reply) -> str:
    if reply.body == sent:
        return f"{len(sent)} bytes came back as they were"
    try:
        same = json.loads(sent) == json.loads(reply.body)
    except ValueError:
        same = False
    if not same:
        raise FailedError(f"{len(sent)} bytes came back as {len(reply.body)} bytes of something else")
    return f"{len(sent)} bytes came back as the same document in {len(reply.body)} bytes"


CASES: tuple[Case, ...] = (
    small,
    same_bytes,
    small_frames,
    over_a_piece,
    large,
    pieces,
    empty_end,
    empty,
    one_byte,
    second_end,
    trailers,
    buffered,
    buffered_large,
)
