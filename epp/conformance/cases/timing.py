"""How long gateways wait."""

from typing import Final

from epp.conformance.bench import Bench, picked
from epp.conformance.cases import sources
from epp.conformance.exchange import Request
from epp.conformance.model import Case, FailedError, Level, case

_REQUESTS: Final = 20
_PATIENCE_S: Final = 0.2
"""Envoy's default ``message_timeout``."""


@case("timing.small", Level.RECOMMENDED, sources.TIMEOUT)
async def small(bench: Bench) -> str:
    """Small requests are answered within 200 ms, as long as Envoy waits unless told otherwise."""
    return await _slowest(bench, bench.plain)


@case("timing.large", Level.OPTIONAL, sources.TIMEOUT)
async def large(bench: Bench) -> str:
    """Requests of 100 000 bytes are answered within 200 ms too."""
    return await _slowest(bench, Request([bench.chat_of(100_000)], modes=bench.plain.modes))


async def _slowest(bench: Bench, request: Request) -> str:
    durations_s: list[float] = []
    for _ in range(_REQUESTS):
        reply = await bench.ask(request)
        picked(reply)
        durations_s.append(reply.duration_s)
    durations_s.sort()
    middle_ms, slowest_ms = durations_s[_REQUESTS // 2] * 1e3, durations_s[-1] * 1e3
    said = f"{_REQUESTS} requests took {middle_ms:.1f} ms in the middle, {slowest_ms:.1f} ms at most"
    if durations_s[-1] > _PATIENCE_S:
        raise FailedError(said)
    return said


CASES: tuple[Case, ...] = (small, large)
