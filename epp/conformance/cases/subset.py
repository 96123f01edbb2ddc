"""The gateway's hint that narrows the choice."""

import dataclasses
from collections.abc import Sequence

from epp.conformance.bench import Bench, inside, picked, refused
from epp.conformance.cases import sources
from epp.conformance.exchange import Reply, Request
from epp.conformance.model import Case, FailedError, Level, Need, case
from epp.conformance.names import NOWHERE

_AT_MOST = 8
"""Endpoints that are singled out, of however many there are."""
_EACH = 4
"""Requests per hint: a picker that does not read it hits the right one by chance only so often."""


@case("subset.one", Level.REQUIRED, sources.SUBSET, Need.ENDPOINTS)
async def one(bench: Bench) -> str:
    """A hint that names one endpoint sends requests there and nowhere else."""
    singled = bench.target.endpoints[:_AT_MOST]
    for endpoint in singled:
        for _ in range(_EACH):
            inside(await _hinted(bench, [endpoint]), [endpoint])
    return f"{len(singled)} endpoints singled out, {_EACH} requests each"


@case("subset.several", Level.REQUIRED, sources.SUBSET, Need.ENDPOINTS)
async def several(bench: Bench) -> str:
    """Of a hint that names several endpoints, those of other pools are passed over."""
    hinted = [NOWHERE, bench.target.endpoints[-1], "192.0.2.2:9"]
    for _ in range(_EACH):
        inside(await _hinted(bench, hinted), bench.target.endpoints[-1:])
    return f"{_EACH} requests went to {bench.target.endpoints[-1]}"


@case("subset.head-only", Level.REQUIRED, sources.SUBSET, Need.ENDPOINTS)
async def head_only(bench: Bench) -> str:
    """The hint counts for requests without a body too."""
    for endpoint in bench.target.endpoints[:_AT_MOST]:
        for _ in range(_EACH):
            request = Request(modes=bench.plain.modes, subset=[endpoint])
            inside(await bench.ask(request), [endpoint])
    return "every GET went where the hint said"


@case("subset.empty", Level.REQUIRED, sources.SUBSET)
async def empty(bench: Bench) -> str:
    """An empty hint allows nobody: 503."""
    return refused(await _hinted(bench, []), 503)


@case("subset.unknown", Level.REQUIRED, sources.SUBSET)
async def unknown(bench: Bench) -> str:
    """A hint that names no endpoint of the pool allows nobody: 503."""
    return refused(await _hinted(bench, [NOWHERE]), 503)


@case("subset.head-only-unknown", Level.REQUIRED, sources.SUBSET)
async def head_only_unknown(bench: Bench) -> str:
    """Requests without a body are refused so too: 503."""
    return refused(await bench.ask(Request(modes=bench.plain.modes, subset=[NOWHERE])), 503)


@case("subset.port", Level.REQUIRED, sources.SUBSET)
async def port(bench: Bench) -> str:
    """A hint's port counts: the right address with a port that no endpoint has allows nobody."""
    known = {*bench.target.endpoints, *picked(await bench.ask(bench.plain))}
    host = min(known).rpartition(":")[0]
    wrong = next(f"{host}:{number}" for number in range(1, 1000) if f"{host}:{number}" not in known)
    return refused(await _hinted(bench, [wrong]), 503)


@case("subset.text", Level.RECOMMENDED, sources.SUBSET, Need.ENDPOINTS)
async def text(bench: Bench) -> str:
    """A hint given as a comma string, as some metadata filters write it, counts as a list does."""
    endpoint = bench.target.endpoints[-1]
    for _ in range(_EACH):
        inside(await _hinted(bench, f"{NOWHERE}, {endpoint}"), [endpoint])
    return f"{_EACH} requests went to {endpoint}"


@case("subset.refusal-form", Level.REQUIRED, sources.SUBSET)
async def refusal_form(bench: Bench) -> str:
    """A refusal is an immediate response that sets no framing, and no destination beside it."""
    reply = await _hinted(bench, [])
    said = refused(reply, 503)
    if reply.metadata is not None:
        raise FailedError(f"the refusal names {reply.metadata} as the destination")
    if framing := [h.name for h in reply.mutation.set_headers if h.name in {"transfer-encoding", ":status"}]:
        raise FailedError(f"the refusal sets {', '.join(framing)}")
    return said


async def _hinted(bench: Bench, subset: Sequence[str] | str) -> Reply:
    return await bench.ask(dataclasses.replace(bench.plain, subset=subset))


CASES: tuple[Case, ...] = (
    one,
    several,
    head_only,
    empty,
    unknown,
    head_only_unknown,
    port,
    text,
    refusal_form,
)
