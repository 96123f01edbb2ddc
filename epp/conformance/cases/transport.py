"""How the picker's port is spoken to."""

from epp.conformance.bench import Bench, picked
from epp.conformance.cases import sources
from epp.conformance.exchange import Request
from epp.conformance.model import Case, FailedError, Level, Need, case
from epp.conformance.transport import Handshake, Security, shake_hands


@case("transport.tls", Level.REQUIRED, sources.GRPC, Need.TLS, pick=False)
async def tls(bench: Bench) -> str:
    """A TLS handshake of version 1.2 or later succeeds, as far as the certificate is to be verified."""
    agreed = await _handshake(bench)
    verified = bench.target.address.security is Security.VERIFIED
    return f"{agreed.version}, certificate {'verified' if verified else 'taken as it is'}"


@case("transport.alpn", Level.REQUIRED, sources.GRPC, Need.TLS, pick=False)
async def alpn(bench: Bench) -> str:
    """The TLS handshake agrees on HTTP/2 (ALPN h2)."""
    agreed = await _handshake(bench)
    if agreed.alpn != "h2":
        raise FailedError(f"ALPN agreed on {agreed.alpn or 'nothing'}")
    return "h2"


@case("transport.h2c", Level.REQUIRED, sources.GRPC, Need.PLAINTEXT, pick=False)
async def h2c(bench: Bench) -> str:
    """HTTP/2 with prior knowledge is served in plaintext: a stream opens and is answered."""
    reply = await bench.ask(Request(modes=bench.plain.modes))
    return f"answered after {reply.duration_s * 1e3:.0f} ms"


@case("transport.many-on-one", Level.REQUIRED, sources.GRPC)
async def many_on_one(bench: Bench) -> str:
    """Twenty requests after each other on one connection are all answered."""
    for _ in range(20):
        picked(await bench.ask(bench.plain))
    return "20 answered"


async def _handshake(bench: Bench) -> Handshake:
    try:
        return await shake_hands(bench.target.address, bench.target.timeout_s)
    except (OSError, TimeoutError) as error:
        raise FailedError(f"no handshake: {error or 'it took too long'}") from error


CASES: tuple[Case, ...] = (tls, alpn, h2c, many_on_one)
