"""What a picker may do to the heads that pass it."""

from typing import Final

from epp.conformance.answers import Mutation, SetHeader
from epp.conformance.bench import Bench, picked
from epp.conformance.cases import sources
from epp.conformance.exchange import Reply, Request
from epp.conformance.model import Case, FailedError, Level, case

_ROUTING: Final = frozenset({"host", ":authority", ":method", ":scheme", ":path"})
_HOP_BY_HOP: Final = frozenset({"transfer-encoding", "connection", "keep-alive", "te", "upgrade"})


@case("mutation.form", Level.REQUIRED, sources.EXT_PROC)
async def form(bench: Bench) -> str:
    """Every header set has a name, and its value in one form: value or raw_value."""
    reply = await _reply(bench)
    for header in reply.mutation.set_headers:
        if header.both_forms:
            raise FailedError(f"{header.name} has both value and raw_value")
        if not header.name or any(sign in header.name + header.value for sign in "\r\n\0"):
            raise FailedError(f"{header.name!r}: {header.value!r} is no header")
    return f"{len(reply.mutation.set_headers)} headers set"


@case("mutation.framing", Level.REQUIRED, sources.FRAMING)
async def framing(bench: Bench) -> str:
    """Framing is left to the gateway: no transfer-encoding or other hop-by-hop header is set, and no
    content-length but the body's own.
    """
    reply = await _reply(bench)
    check_framing(reply.mutation, len(reply.body))
    return "framing was left alone"


@case("mutation.routing", Level.REQUIRED, sources.MUTATION)
async def routing(bench: Bench) -> str:
    """Method, scheme, authority, host and path keep their values and are not removed."""
    request = Request([bench.chat()], modes=bench.plain.modes)
    reply = await bench.ask(request)
    picked(reply)
    sent = request.head()
    if removed := sorted({name for name in reply.mutation.removed if name.startswith(":") or name == "host"}):
        raise FailedError(f"removes {', '.join(removed)}")
    changed = [h for h in reply.mutation.set_headers if h.name in _ROUTING and h.value != sent.get(h.name)]
    if changed:
        raise FailedError(f"sets {_shown(changed)}")
    return "none was changed"


@case("mutation.lean", Level.RECOMMENDED, sources.MUTATION)
async def lean(bench: Bench) -> str:
    """Nothing is echoed: no pseudo-header, host, content-length or x-envoy header is set, nor one of the
    client's with its old value. Each costs time, and Envoy ignores most of them.
    """
    request = Request([bench.chat()], headers={"x-kept": "as it was"}, modes=bench.plain.modes)
    reply = await bench.ask(request)
    picked(reply)
    sent = request.head()
    needless = [
        header
        for header in reply.mutation.set_headers
        if header.name.startswith((":", "x-envoy"))
        or header.name in {"host", "content-length"}
        or sent.get(header.name) == header.value
    ]
    if needless:
        raise FailedError(f"sets {_shown(needless)}")
    return f"sets {_shown(list(reply.mutation.set_headers))}"


@case("mutation.hop-by-hop", Level.RECOMMENDED, sources.FRAMING)
async def hop_by_hop(bench: Bench) -> str:
    """A client's transfer-encoding, which Envoy shows for chunked bodies, is not written back."""
    head = {"transfer-encoding": "chunked", "content-length": ""}
    request = Request([bench.chat()], headers=head, modes=bench.plain.modes)
    reply = await bench.ask(request)
    picked(reply)
    check_framing(reply.mutation, len(reply.body))
    return "it was not"


def check_framing(mutation: Mutation, body_bytes: int) -> None:
    """Raises FailedError for framing headers that would break the message."""
    if found := sorted({header.name for header in mutation.set_headers} & _HOP_BY_HOP):
        raise FailedError(f"sets {', '.join(found)}")
    length = mutation.value("content-length")
    if length is not None and length != str(body_bytes):
        raise FailedError(f"sets content-length {length} for a body of {body_bytes} bytes")


async def _reply(bench: Bench) -> Reply:
    reply = await bench.ask(bench.plain)
    picked(reply)
    return reply


def _shown(headers: list[SetHeader]) -> str:
    names = sorted({header.name for header in headers})
    return ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")


CASES: tuple[Case, ...] = (form, framing, routing, hop_by_hop, lean)
