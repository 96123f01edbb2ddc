"""Tries cases one after another, each within a deadline, and keeps how they ended."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from time import monotonic
from typing import Final

import grpc

from epp.conformance.bench import Bench, Target
from epp.conformance.exchange import Request
from epp.conformance.model import Case, FailedError, Need, Result, SkippedError, Verdict
from epp.conformance.transport import Security, reached, shake_hands

_CASE_ANSWERS: Final = 10
"""A case may wait this many times for an answer before it is given up."""
_MOST_MESSAGE_BYTES: Final = 64 << 20


class UnreachableError(Exception):
    """Nobody speaks gRPC at the target, so that nothing could be tried."""


async def run_cases(
    target: Target, cases: Sequence[Case], tell: Callable[[Result], None] = lambda _result: None
) -> list[Result]:
    """Tries the cases in turn, and tells each result as it comes. Raises UnreachableError."""
    results: list[Result] = []
    async with _opened(target) as bench:
        reasons = await _missing(bench)
        for case in cases:
            result = await _try(case, bench, reasons)
            results.append(result)
            tell(result)
    return results


@asynccontextmanager
async def _opened(target: Target) -> AsyncGenerator[Bench]:
    options = (
        ("grpc.max_receive_message_length", _MOST_MESSAGE_BYTES),
        ("grpc.max_send_message_length", _MOST_MESSAGE_BYTES),
        ("grpc.use_local_subchannel_pool", 1),
    )
    health = target.health or target.address
    await _check_certificate(target)
    async with (
        reached(target.address) as address,
        grpc.aio.insecure_channel(address, options) as channel,
        reached(health) as health_address,
        grpc.aio.insecure_channel(health_address, options) as health_channel,
    ):
        try:
            async with asyncio.timeout(target.timeout_s):
                await channel.channel_ready()
        except TimeoutError:
            text = f"nobody speaks gRPC ({target.address.security}) at {target.address}"
            raise UnreachableError(text) from None
        yield Bench(target, channel, health_channel)


async def _check_certificate(target: Target) -> None:
    """Raises UnreachableError with TLS's own words, which gRPC would not get to see."""
    if target.address.security is Security.PLAINTEXT:
        return
    try:
        await shake_hands(target.address, target.timeout_s)
    except (OSError, TimeoutError) as error:
        raise UnreachableError(f"no TLS with {target.address}: {error or 'it took too long'}") from error


async def _missing(bench: Bench) -> dict[Need, str]:
    """The needs that are not met here, and why."""
    target, reasons = bench.target, dict[Need, str]()
    if trouble := await _trouble(bench):
        reasons[Need.PICK] = f"no request is sent anywhere: {trouble}"
    hint = "the picker's endpoints are not known; name each with --endpoint"
    if not target.endpoints:
        reasons[Need.ENDPOINT] = hint
    if len(target.endpoints) < 2:
        reasons[Need.ENDPOINTS] = "it takes two endpoints; name each with --endpoint"
    plaintext = target.address.security is Security.PLAINTEXT
    reasons[Need.TLS if plaintext else Need.PLAINTEXT] = f"reached by {target.address.security}"
    for need, tried in ((Need.DUPLEX, target.duplex), (Need.BUFFERED, target.buffered)):
        if not tried:
            reasons[need] = f"{need} bodies are left out by --body-mode"
    return reasons


async def _trouble(bench: Bench) -> str | None:
    """Why neither a plain POST nor a GET gets past the picker; None: one of them does."""
    troubles: list[str] = []
    for request in (bench.plain, Request(modes=bench.plain.modes)):
        try:
            reply = await bench.ask(request)
        except FailedError as error:
            troubles.append(str(error))
            continue
        if reply.status is None:
            return None
        troubles.append(f"an immediate response with status {reply.status}")
    return troubles[0]


async def _try(case: Case, bench: Bench, reasons: dict[Need, str]) -> Result:
    started_s = monotonic()
    verdict, seen = await _verdict(case, bench, reasons)
    return Result(case, verdict, seen, monotonic() - started_s)


async def _verdict(case: Case, bench: Bench, reasons: dict[Need, str]) -> tuple[Verdict, str]:
    for need in Need:
        if need in case.needs and need in reasons:
            return Verdict.SKIP, reasons[need]
    limit_s = bench.target.timeout_s * _CASE_ANSWERS
    try:
        async with asyncio.timeout(limit_s):
            return Verdict.PASS, await case.trial(bench)
    except FailedError as error:
        return Verdict.FAIL, str(error)
    except SkippedError as reason:
        return Verdict.SKIP, str(reason)
    except TimeoutError:
        return Verdict.FAIL, f"not over after {limit_s:g} s"
