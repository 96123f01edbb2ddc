"""The picker's part of the inference-extension's conformance suite for gateways.

The suite steers by a request header and reads who served from a response header, so it can only be run with
a picker that plays along.
"""

from collections import defaultdict

from epp.conformance.bench import Bench, inside, picked
from epp.conformance.cases import sources
from epp.conformance.exchange import Reply, Request
from epp.conformance.model import Case, FailedError, Level, Need, Profile, SkippedError, case
from epp.conformance.names import NOWHERE, SELECTION_HEADER, SERVED_HEADER

_EACH = 4
_BALANCE_TRIES = 64


@case("suite.select-endpoint", Level.REQUIRED, sources.SUITE, Need.ENDPOINTS, profile=Profile.GATEWAY)
async def select_endpoint(bench: Bench) -> str:
    """The header test-epp-endpoint-selection with an ip:port sends requests there."""
    for endpoint in bench.target.endpoints:
        for _ in range(_EACH):
            inside(await _selected(bench, endpoint), [endpoint])
    return f"{len(bench.target.endpoints)} endpoints selected, {_EACH} requests each"


@case("suite.select-address", Level.REQUIRED, sources.SUITE, Need.ENDPOINT, profile=Profile.GATEWAY)
async def select_address(bench: Bench) -> str:
    """With an ip it sends requests to that address, on whichever of its ports."""
    hosts = _by_host(bench)
    for host, endpoints in hosts.items():
        for _ in range(_EACH):
            inside(await _selected(bench, host), endpoints)
    return f"{len(hosts)} addresses selected, {_EACH} requests each"


@case("suite.select-list", Level.REQUIRED, sources.SUITE, Need.ENDPOINTS, profile=Profile.GATEWAY)
async def select_list(bench: Bench) -> str:
    """With a comma list it sends requests to the pool's endpoints among them."""
    first, second = bench.target.endpoints[:2]
    for _ in range(_EACH):
        inside(await _selected(bench, f"{NOWHERE}, {first},{second}"), [first, second])
    return f"{_EACH} requests went to two endpoints"


@case("suite.target-ports", Level.REQUIRED, sources.SUITE, Need.ENDPOINTS, profile=Profile.GATEWAY)
async def target_ports(bench: Bench) -> str:
    """Each target port of an address is an endpoint, and selecting the address reaches every one."""
    several = [endpoints for endpoints in _by_host(bench).values() if len(endpoints) > 1]
    if not several:
        raise SkippedError("no two of the endpoints given share an address")
    for endpoints in several:
        missing = set(endpoints)
        for _ in range(_BALANCE_TRIES):
            missing -= set(inside(await _selected(bench, endpoints[0].rpartition(":")[0]), endpoints))
            if not missing:
                break
        if missing:
            raise FailedError(f"{_BALANCE_TRIES} requests never went to {', '.join(sorted(missing))}")
    return f"{sum(map(len, several))} ports of {len(several)} addresses were reached"


@case("suite.select-head-only", Level.REQUIRED, sources.SUITE, Need.ENDPOINTS, profile=Profile.GATEWAY)
async def select_head_only(bench: Bench) -> str:
    """The header counts for a GET without a body too."""
    for endpoint in bench.target.endpoints:
        request = Request(headers={SELECTION_HEADER: endpoint}, modes=bench.plain.modes)
        for _ in range(_EACH):
            inside(await bench.ask(request), [endpoint])
    return f"{len(bench.target.endpoints)} endpoints selected, {_EACH} requests each"


@case("suite.select-unknown", Level.REQUIRED, sources.SUITE, profile=Profile.GATEWAY)
async def select_unknown(bench: Bench) -> str:
    """Selecting an endpoint of no pool never sends a request there."""
    reply = await _selected(bench, NOWHERE)
    if reply.status is None and NOWHERE in picked(reply):
        raise FailedError(f"sent to {NOWHERE}")
    return f"refused with {reply.status}" if reply.status else f"sent to {reply.header}"


@case("suite.served", Level.REQUIRED, sources.SUITE, profile=Profile.GATEWAY)
async def served(bench: Bench) -> str:
    """The response header x-conformance-test-served-endpoint repeats who served, from the metadata."""
    async with bench.open(bench.plain) as exchange:
        chosen = picked(await exchange.ask())
        await exchange.respond_head({":status": "200"}, chosen[0])
        shown = exchange.response_mutation.value(SERVED_HEADER)
    if shown != chosen[0]:
        raise FailedError(f"{shown or 'no such header'}, served by {chosen[0]}")
    return chosen[0]


async def _selected(bench: Bench, selection: str) -> Reply:
    headers = {SELECTION_HEADER: selection}
    return await bench.ask(Request([bench.chat()], headers=headers, modes=bench.plain.modes))


def _by_host(bench: Bench) -> dict[str, list[str]]:
    hosts: defaultdict[str, list[str]] = defaultdict(list)
    for endpoint in bench.target.endpoints:
        hosts[endpoint.rpartition(":")[0]].append(endpoint)
    return hosts


CASES: tuple[Case, ...] = (
    select_endpoint,
    select_address,
    select_list,
    target_ports,
    select_head_only,
    select_unknown,
    served,
)
