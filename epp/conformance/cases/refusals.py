"""Requests that make no sense: the client hears so. A dropped stream would be the gateway's 500."""

from typing import Final

from epp.conformance.bench import Bench, picked, tolerated
from epp.conformance.cases import sources
from epp.conformance.exchange import Request
from epp.conformance.model import Case, Level, case

_DEEP: Final = 20_000
_OVERSIZE_BYTES: Final = 8 << 20
"""Above the 4 MiB that gRPC takes in one message unless told otherwise; sent in pieces, as Envoy does."""
_PIECE_BYTES: Final = 256 * 1024


@case("refusal.not-json", Level.REQUIRED, sources.EXT_PROC)
async def not_json(bench: Bench) -> str:
    """A body that is not JSON is refused with a 4xx, or sent on; the stream is not dropped."""
    return await _doubtful(bench, b'{"model": "')


@case("refusal.no-model", Level.REQUIRED, sources.EXT_PROC)
async def no_model(bench: Bench) -> str:
    """A body without a model is refused with a 4xx, or sent on."""
    return await _doubtful(bench, b'{"messages": [{"role": "user", "content": "hi"}]}')


@case("refusal.unknown-model", Level.REQUIRED, sources.EXT_PROC)
async def unknown_model(bench: Bench) -> str:
    """A model nobody serves is refused with a 4xx, or sent on."""
    return await _doubtful(bench, b'{"model": "no/such-model", "messages": [], "prompt": "hi"}')


@case("refusal.wrong-types", Level.REQUIRED, sources.EXT_PROC)
async def wrong_types(bench: Bench) -> str:
    """A document whose fields have the wrong types is refused with a 4xx, or sent on."""
    for body in (b'{"model": 7, "messages": "hi"}', b"[]", b"null", b'{"model": null, "prompt": {"a": 1}}'):
        said = await _doubtful(bench, body)
    return said


@case("refusal.not-text", Level.REQUIRED, sources.EXT_PROC)
async def not_text(bench: Bench) -> str:
    """Bytes that are no UTF-8, and a lone surrogate, are refused with a 4xx, or sent on."""
    await _doubtful(bench, bytes(range(256)))
    return await _doubtful(bench, bench.chat().replace(b"Say hello.", b"\\ud800"))


@case("refusal.deep", Level.REQUIRED, sources.AVAILABILITY)
async def deep(bench: Bench) -> str:
    """Twenty thousand nested arrays do no harm."""
    body = b'{"model": "m", "messages": ' + b"[" * _DEEP + b"]" * _DEEP + b"}"
    return await _doubtful(bench, body)


@case("refusal.oversize", Level.RECOMMENDED, sources.AVAILABILITY)
async def oversize(bench: Bench) -> str:
    """A body of 8 MiB is refused with a 4xx, best 413, or sent on; the stream is not dropped."""
    body = bench.chat_of(_OVERSIZE_BYTES)
    modes = bench.plain.modes
    frames = [body[at : at + _PIECE_BYTES] for at in range(0, len(body), _PIECE_BYTES)]
    return tolerated(await bench.ask(Request(frames if bench.target.duplex else [body], modes=modes)))


async def _doubtful(bench: Bench, body: bytes) -> str:
    said = tolerated(await bench.ask(Request([body], modes=bench.plain.modes)))
    picked(await bench.ask(bench.plain))
    return said


CASES: tuple[Case, ...] = (
    not_json,
    no_model,
    unknown_model,
    wrong_types,
    not_text,
    deep,
    oversize,
)
