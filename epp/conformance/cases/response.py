"""The response: whatever the gateway sends is answered in kind, at once where a client waits for it."""

from epp.conformance.bench import Bench, picked
from epp.conformance.cases import sources
from epp.conformance.cases.mutation import check_framing
from epp.conformance.exchange import Exchange, Request
from epp.conformance.messages import BUFFERED, NO_BODIES_BACK, RESPONSE_STREAMED
from epp.conformance.model import Case, FailedError, Level, Need, case
from epp.conformance.names import NOWHERE

_JSON = {":status": "200", "content-type": "application/json"}
_EVENTS = {":status": "200", "content-type": "text/event-stream"}
_USAGE = b'{"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4}}'


@case("response.head", Level.REQUIRED, sources.EXT_PROC)
async def head(bench: Bench) -> str:
    """The head of a response is answered, and its status is left alone."""
    async with bench.open(bench.plain) as exchange:
        await _picked_head(exchange, _JSON)
        changed = exchange.response_mutation.value(":status")
    if changed not in (None, "200"):
        raise FailedError(f"sets :status {changed}")
    return "answered"


@case("response.body", Level.REQUIRED, sources.MODES, Need.DUPLEX)
async def body(bench: Bench) -> str:
    """A body of one piece is given back as it was."""
    return await _given_back(bench, [_USAGE])


@case("response.large", Level.REQUIRED, sources.MODES, Need.DUPLEX)
async def large(bench: Bench) -> str:
    """A body of 300 000 bytes is given back as it was."""
    return await _given_back(bench, [bytes([65 + at]) * 60_000 for at in range(5)])


@case("response.empty-end", Level.REQUIRED, sources.ISTIO, Need.DUPLEX)
async def empty_end(bench: Bench) -> str:
    """A body whose end is an empty frame of its own is given back and ended."""
    return await _given_back(bench, [_USAGE, b""])


@case("response.head-ends", Level.REQUIRED, sources.EXT_PROC)
async def head_ends(bench: Bench) -> str:
    """A response without a body is answered."""
    async with bench.open(bench.plain) as exchange:
        chosen = picked(await exchange.ask())
        await exchange.respond_head({":status": "204"}, chosen[0], end_of_stream=True)
    return "answered"


@case("response.events", Level.REQUIRED, sources.EXT_PROC, Need.DUPLEX)
async def events(bench: Bench) -> str:
    """Server-sent events are given back one by one, before the next has come: clients see tokens flow."""
    async with bench.open(Request([bench.chat(stream=True)])) as exchange:
        served = await _picked_head(exchange, _EVENTS)
        for number in range(5):
            await exchange.respond_body([b'data: {"n": %d}\n\n' % number], served, ends=False)
        await exchange.respond_body([b"data: [DONE]\n\n"], served)
    return "six events, each given back at once"


@case("response.trailers", Level.REQUIRED, sources.MODES, Need.DUPLEX)
async def trailers(bench: Bench) -> str:
    """Trailers end a response: its body was given back, and they are answered."""
    async with bench.open(bench.plain) as exchange:
        served = await _picked_head(exchange, {**_JSON, "trailer": "grpc-status"})
        await exchange.respond_trailers([_USAGE], served)
        came = bytes(exchange.responses.given_back)
    return _compare(_USAGE, came)


@case("response.error", Level.REQUIRED, sources.EXT_PROC, Need.DUPLEX)
async def error(bench: Bench) -> str:
    """A model server's 500 and its body pass unchanged."""
    async with bench.open(bench.plain) as exchange:
        served = await _picked_head(exchange, {":status": "500", "content-type": "text/plain"})
        await exchange.respond_body([b"out of memory"], served)
        if bytes(exchange.responses.given_back) != b"out of memory":
            raise FailedError(f"the body came back as {bytes(exchange.responses.given_back)!r}")
    return "passed"


@case("response.no-bodies", Level.REQUIRED, sources.MODES, Need.DUPLEX)
async def no_bodies(bench: Bench) -> str:
    """A gateway that keeps response bodies to itself gets the head answered, and can end the stream then."""
    async with bench.open(Request([bench.chat()], modes=NO_BODIES_BACK)) as exchange:
        await _picked_head(exchange, _JSON)
    picked(await bench.ask(bench.plain))
    return "answered; the next request too"


@case("response.streamed", Level.RECOMMENDED, sources.MODES, Need.DUPLEX)
async def streamed(bench: Bench) -> str:
    """In mode STREAMED each piece of a response's body is answered."""
    async with bench.open(Request([bench.chat()], modes=RESPONSE_STREAMED)) as exchange:
        served = await _picked_head(exchange, _EVENTS)
        await exchange.respond_body([b"data: 1\n\n", b"data: [DONE]\n\n"], served)
    return "two pieces answered"


@case("response.buffered", Level.RECOMMENDED, sources.ENVOY_GATEWAY, Need.BUFFERED)
async def buffered(bench: Bench) -> str:
    """A BUFFERED body of a response is answered once, plainly."""
    async with bench.open(Request([bench.chat()], modes=BUFFERED)) as exchange:
        served = await _picked_head(exchange, _JSON)
        await exchange.respond_body([_USAGE], served)
    return "answered"


@case("response.served", Level.REQUIRED, sources.SERVED)
async def served_elsewhere(bench: Bench) -> str:
    """That another endpoint served, or that no one is told to have, disturbs nothing."""
    for served in (NOWHERE, f"{NOWHERE},192.0.2.2:9", "", None):
        async with bench.open(bench.plain) as exchange:
            picked(await exchange.ask())
            await exchange.respond_head(_JSON, served)
    return "four ways to tell it were taken"


@case("response.mutation", Level.REQUIRED, sources.FRAMING)
async def mutation(bench: Bench) -> str:
    """Framing of the response is left alone: no content-length but the old one, no hop-by-hop header."""
    size = str(len(_USAGE))
    async with bench.open(bench.plain) as exchange:
        await _picked_head(exchange, {**_JSON, "content-length": size})
        change = exchange.response_mutation
    check_framing(change, len(_USAGE))
    return f"{len(change.set_headers)} headers set"


@case("response.hop-by-hop", Level.RECOMMENDED, sources.FRAMING)
async def hop_by_hop(bench: Bench) -> str:
    """A model server's transfer-encoding is not written back: where a gateway does not drop it, as Envoy 1.40
    does, it breaks responses over HTTP/2.
    """
    async with bench.open(bench.plain) as exchange:
        await _picked_head(exchange, {**_EVENTS, "transfer-encoding": "chunked"})
        change = exchange.response_mutation
    check_framing(change, 0)
    return "it was not"


async def _picked_head(exchange: Exchange, headers: dict[str, str]) -> str:
    """Plays a request and the head of its response; who served."""
    chosen = picked(await exchange.ask())
    await exchange.respond_head(headers, chosen[0])
    return chosen[0]


async def _given_back(bench: Bench, pieces: list[bytes]) -> str:
    async with bench.open(bench.plain) as exchange:
        served = await _picked_head(exchange, _JSON)
        await exchange.respond_body(pieces, served)
        came = bytes(exchange.responses.given_back)
    return _compare(b"".join(pieces), came)


def _compare(sent: bytes, came: bytes) -> str:
    if came != sent:
        raise FailedError(f"{len(sent)} bytes came back as {len(came)} bytes of something else")
    return f"{len(sent)} bytes came back as they were"


CASES: tuple[Case, ...] = (
    head,
    body,
    large,
    empty_end,
    head_ends,
    events,
    trailers,
    error,
    no_bodies,
    streamed,
    buffered,
    served_elsewhere,
    mutation,
    hop_by_hop,
)
