"""Where a request is sent."""

import dataclasses

from epp.conformance.bench import Bench, inside, picked, tolerated
from epp.conformance.cases import sources
from epp.conformance.exchange import Request
from epp.conformance.messages import BUFFERED
from epp.conformance.model import Case, FailedError, Level, Need, case
from epp.conformance.names import DESTINATION, NOWHERE

_LISTED = 20
"""Requests whose destinations are looked up in the list of endpoints."""


@case("destination.header", Level.REQUIRED, sources.DESTINATION, pick=False)
async def header(bench: Bench) -> str:
    """A request's answer sets the header x-gateway-destination-endpoint."""
    reply = await bench.ask(bench.plain)
    if reply.header is None:
        refusal = f"an immediate response with status {reply.status}" if reply.status else "no such header"
        raise FailedError(refusal)
    return reply.header


@case("destination.metadata", Level.REQUIRED, sources.DESTINATION)
async def metadata(bench: Bench) -> str:
    """A request's answer carries the destination in the dynamic metadata envoy.lb, which Istio goes by."""
    reply = await bench.ask(bench.plain)
    if reply.metadata is None:
        raise FailedError("no x-gateway-destination-endpoint in the dynamic metadata envoy.lb")
    return reply.metadata


@case("destination.same", Level.REQUIRED, sources.DESTINATION)
async def same(bench: Bench) -> str:
    """The header and the metadata hold the same string."""
    return ", ".join(picked(await bench.ask(bench.plain)))


@case("destination.syntax", Level.REQUIRED, sources.DESTINATION)
async def syntax(bench: Bench) -> str:
    """The destination is one ip:port or a comma list of them without repetition, IPv6 in brackets."""
    found = picked(await bench.ask(bench.plain))
    if len(set(found)) != len(found):
        raise FailedError(f"{', '.join(found)} names an endpoint twice")
    return f"{len(found)} {'entry' if len(found) == 1 else 'entries'}: {', '.join(found)}"


@case("destination.known", Level.REQUIRED, sources.DESTINATION, Need.ENDPOINT)
async def known(bench: Bench) -> str:
    """Every destination, fallbacks among them, is an endpoint of the pool."""
    chosen = {entry for _ in range(_LISTED)
              for entry in inside(await bench.ask(bench.plain), bench.target.endpoints)}  # fmt: skip
    return f"{_LISTED} requests went to {len(chosen)} of {len(bench.target.endpoints)} endpoints"


@case("destination.head-only", Level.REQUIRED, sources.EXT_PROC)
async def head_only(bench: Bench) -> str:
    """A GET, whose head ends the request, is answered with a destination at once."""
    return ", ".join(picked(await bench.ask(Request(modes=bench.plain.modes))))


@case("destination.client-header", Level.REQUIRED, sources.DESTINATION)
async def client_header(bench: Bench) -> str:
    """A client's own x-gateway-destination-endpoint is not believed, and overwritten."""
    reply = await bench.ask(dataclasses.replace(bench.plain, headers={DESTINATION: NOWHERE}))
    if reply.status is not None:
        return f"refused with {reply.status}"
    if NOWHERE in picked(reply):
        raise FailedError(f"sent to {NOWHERE}, which the client had asked for")
    if any(h.keeps_the_old for h in reply.mutation.set_headers if h.name == DESTINATION):
        raise FailedError("the picker's value is added to the client's instead of replacing it")
    return f"sent to {reply.header}"


@case("destination.buffered", Level.RECOMMENDED, sources.ENVOY_GATEWAY, Need.BUFFERED)
async def buffered(bench: Bench) -> str:
    """In BUFFERED mode the head is let pass, and a destination comes with it or with the body's answer."""
    return ", ".join(picked(await bench.ask(Request([bench.chat()], modes=BUFFERED))))


@case("destination.modes-untold", Level.RECOMMENDED, sources.MODES, Need.DUPLEX)
async def modes_untold(bench: Bench) -> str:
    """A gateway that does not announce its body modes is served in FULL_DUPLEX_STREAMED."""
    reply = await bench.ask(Request([bench.chat()], announced=False))
    return ", ".join(picked(reply))


@case("destination.other-paths", Level.OPTIONAL, sources.DESTINATION)
async def other_paths(bench: Bench) -> str:
    """A path that is no inference API is sent somewhere, or refused with a 4xx."""
    head = {":path": "/some/other/path?with=query"}
    return tolerated(await bench.ask(dataclasses.replace(bench.plain, headers=head)))


CASES: tuple[Case, ...] = (
    header,
    metadata,
    same,
    syntax,
    known,
    head_only,
    client_header,
    buffered,
    modes_untold,
    other_paths,
)
