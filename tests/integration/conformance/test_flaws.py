"""Every case notices a picker that breaks its rule, and none complains of one that keeps them all."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest

from epp.conformance.bench import Target
from epp.conformance.catalogue import CASES
from epp.conformance.model import Profile, Result, Verdict
from epp.conformance.runner import UnreachableError, run_cases
from epp.conformance.transport import Address, Security
from epp.extproc.aio.tls import KeyPair, self_signed
from tests.integration.peers import listening

from .flaws import BROKEN_BY, CAUGHT, LEAKS, WAITED_FOR, BreaksOnGarbage, CountsOpenStreams
from .tiny import ENDPOINTS, TinyPicker

_ELSEWHERE = {"transport.tls", "transport.alpn"}
"""Cases whose flaws are none of a picker's code; tried below."""


_PATIENCE_S = 60.0
"""For pickers that answer, however busy the machine."""
_IMPATIENCE_S = 1.0
"""For pickers that will not."""


async def results_of(
    picker: TinyPicker, names: set[str], timeout_s: float = _PATIENCE_S
) -> dict[str, Result]:
    async with picker.serving() as port:
        address = Address("127.0.0.1", port, Security.PLAINTEXT)
        target = Target(address, ENDPOINTS, timeout_s=timeout_s, profile=Profile.GATEWAY)
        results = await run_cases(target, [case for case in CASES if case.id in names])
    return {result.case.id: result for result in results}


async def test_a_picker_that_keeps_every_rule_passes() -> None:
    results = await results_of(TinyPicker(), {case.id for case in CASES})
    untried = {name for name, result in results.items() if result.verdict is Verdict.SKIP}
    timing = {name for name in results if name.startswith("timing.")}  # a busy machine is no flaw
    assert untried == _ELSEWHERE
    assert [r for r in results.values() if r.verdict is Verdict.FAIL and r.case.id not in timing] == []


@pytest.mark.parametrize("flawed", CAUGHT, ids=lambda flawed: flawed.__name__)
async def test_a_broken_rule_is_noticed(flawed: type[TinyPicker]) -> None:
    expected = CAUGHT[flawed]
    patience_s = _IMPATIENCE_S if flawed in WAITED_FOR else _PATIENCE_S
    results = await results_of(flawed(), set(expected), patience_s)
    for name, words in expected.items():
        assert results[name].verdict is Verdict.FAIL, (name, results[name].seen)
        assert words in results[name].seen


@pytest.mark.parametrize("name", BROKEN_BY.values())
async def test_a_picker_that_breaks_for_all_is_noticed(name: str) -> None:
    results = await results_of(BreaksOnGarbage(), {name})
    assert results[name].verdict is Verdict.FAIL
    assert "the next request" in results[name].seen


@pytest.mark.parametrize("name", LEAKS)
async def test_a_leak_is_noticed(name: str) -> None:
    results = await results_of(CountsOpenStreams(), {name})
    assert results[name].verdict is Verdict.FAIL
    assert "500" in results[name].seen


def test_every_case_has_a_flaw_that_it_notices() -> None:
    noticed = {name for expected in CAUGHT.values() for name in expected}
    assert noticed | set(BROKEN_BY.values()) | set(LEAKS) | _ELSEWHERE == {case.id for case in CASES}


async def test_a_picker_that_refuses_everything_fails_once_and_is_not_tried_on() -> None:
    class Refusing(TinyPicker):
        def verdict(self, _seen: object) -> int | None:
            return 503

    results = await results_of(Refusing(), {"destination.header", "body.small", "subset.empty"})
    assert results["destination.header"].verdict is Verdict.FAIL
    assert results["body.small"].verdict is results["subset.empty"].verdict is Verdict.SKIP
    assert "status 503" in results["body.small"].seen


@contextlib.asynccontextmanager
async def behind_tls(picker: TinyPicker, pair: KeyPair, folder: Path, alpn: list[str]) -> AsyncIterator[int]:
    """The port of a TLS front in whose back a picker speaks plaintext."""
    (folder / "tls.pem").write_bytes(pair.key + pair.chain)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "tls.pem")
    if alpn:
        context.set_alpn_protocols(alpn)
    async with picker.serving() as port, listening(partial(forward, port), context) as front:
        yield front


async def forward(port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    near, far = await asyncio.open_connection("127.0.0.1", port)
    ways = [asyncio.create_task(pump(reader, far)), asyncio.create_task(pump(near, writer))]
    try:
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for way, end in zip(ways, (far, writer), strict=True):
            way.cancel()
            end.transport.abort()
    await asyncio.wait(ways)


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()


@pytest.mark.parametrize(("alpn", "verdict"), [(["h2"], Verdict.PASS), ([], Verdict.FAIL)])
async def test_tls_without_http2_is_noticed(tmp_path: Path, alpn: list[str], verdict: Verdict) -> None:
    async with behind_tls(TinyPicker(), self_signed(), tmp_path, alpn) as port:
        cases = [case for case in CASES if case.id in {*_ELSEWHERE, "body.large"}]
        results = await run_cases(Target(Address("127.0.0.1", port), ENDPOINTS, timeout_s=_PATIENCE_S), cases)
    verdicts = {result.case.id: result.verdict for result in results}
    assert verdicts == {"transport.tls": "PASS", "transport.alpn": verdict, "body.large": "PASS"}


async def test_a_certificate_of_somebody_else_is_noticed(tmp_path: Path) -> None:
    stranger = tmp_path / "ca.pem"
    stranger.write_bytes(self_signed().chain)
    async with behind_tls(TinyPicker(), self_signed(), tmp_path, ["h2"]) as port:
        address = Address("127.0.0.1", port, Security.VERIFIED, str(stranger))
        with pytest.raises(UnreachableError, match="CERTIFICATE_VERIFY_FAILED"):
            await run_cases(Target(address, timeout_s=_PATIENCE_S), CASES[:1])
