"""What becomes of a request whose prefill worker is down, stuck, broken or none, or whose client left."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import web
from msgspec import structs

from epp.core.endpoints import Endpoint, EngineKind
from frontend.config.model import DisaggConfig
from frontend.orchestrate.failures import Reason
from frontend.pipeline.call import Leg, Route

from .stage import CONFIG, STUCK, Stage, staged

TEXT = "once upon a time there was a block of tokens"
FAIL = DisaggConfig(prefill_failure="fail")
QUICK = DisaggConfig(prefill_timeout_s=0.2)
FALLING_BACK = pytest.mark.parametrize("kind", ["vllm", "trtllm"])
KINDS = pytest.mark.parametrize("kind", ["vllm", "sglang", "trtllm"])
STREAMS = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
_DEADLINE_S = 60.0


def asked(*, stream: bool = False, **more: Any) -> dict[str, Any]:
    return {"model": "m", "prompt": TEXT, "max_tokens": 12, "ignore_eos": True, "stream": stream, **more}


def prefilled_by(**changes: Any) -> Callable[[Route], Route]:
    """The route with something else for a prefill worker."""

    def change(route: Route) -> Route:
        assert route.prefill is not None
        endpoint: Endpoint = replace(route.prefill.endpoint, **changes)
        return structs.replace(route, prefill=Leg(endpoint))

    return change


async def eventually(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(_DEADLINE_S):
        while not condition():
            await asyncio.sleep(0.005)


async def given_up(stage: Stage) -> None:
    """Nothing runs at the prefill worker any more; on a starved machine it may never have begun."""
    await eventually(lambda: stage.fleet.runners[0].load() == (0, 0))
    assert stage.computed("prefill").finished in ({"abort": 1}, {})


async def served_whole(stage: Stage, reason: Reason, *, stream: bool = False) -> None:
    """The decode worker computes everything, and says so."""
    body = asked(stream=stream)
    answer = await stage.ask("/v1/completions", body)
    assert answer.text == (await stage.alone("/v1/completions", body)).text
    decode = stage.computed("decode")
    assert (decode.generated, decode.external_hits) == (12, 0)
    assert decode.computed_prompt == decode.prompt > 1
    assert stage.counted.fallbacks == [reason]
    assert stage.calls[0].facts.fallback == reason


@contextlib.asynccontextmanager
async def listening(answer: Callable[[web.Request], Awaitable[web.Response]]) -> AsyncIterator[int]:
    """A server of one answer; its port."""
    app = web.Application()
    app.router.add_post("/{path:.*}", answer)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


async def answered_500(request: web.Request) -> web.Response:
    await request.read()
    return web.Response(status=500, text="secret trace")


async def answered_422(request: web.Request) -> web.Response:
    await request.read()
    return web.json_response({"error": {"message": "no such thing"}}, status=422)


async def answered_emptily(request: web.Request) -> web.Response:
    await request.read()
    return web.json_response({"choices": [{"index": 0, "text": "x", "finish_reason": "length"}]})


async def answered_nonsense(request: web.Request) -> web.Response:
    await request.read()
    return web.Response(text="<html>")


# --- the prefill fails, the decode worker does it all ---------------------------------------------------


@FALLING_BACK
@STREAMS
async def test_a_prefill_worker_that_is_down(kind: str, stream: bool, refusing_port: int) -> None:
    async with staged(kind, route=prefilled_by(port=refusing_port)) as stage:
        await served_whole(stage, Reason.CONNECT, stream=stream)
        assert stage.counted.failed == [Reason.CONNECT]


@FALLING_BACK
@STREAMS
async def test_a_prefill_worker_that_is_stuck(kind: str, stream: bool) -> None:
    async with staged(kind, disagg=QUICK, prefill=STUCK) as stage:
        await served_whole(stage, Reason.TIMEOUT, stream=stream)
        await given_up(stage)


@FALLING_BACK
@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (answered_500, Reason.ERROR),
        (answered_422, Reason.REFUSED),
        (answered_emptily, Reason.NO_HANDOVER),
        (answered_nonsense, Reason.PROTOCOL),
    ],
)
async def test_a_prefill_worker_that_answers_badly(
    kind: str, answer: Callable[[web.Request], Awaitable[web.Response]], reason: Reason
) -> None:
    async with listening(answer) as port, staged(kind, route=prefilled_by(port=port)) as stage:
        await served_whole(stage, reason)
        assert stage.counted.failed == [reason]


# --- or the request fails --------------------------------------------------------------------------------


@KINDS
@STREAMS
async def test_a_prefill_worker_that_is_down_may_fail_the_request(
    kind: str, stream: bool, refusing_port: int
) -> None:
    async with staged(kind, disagg=FAIL, route=prefilled_by(port=refusing_port)) as stage:
        answer = await stage.ask("/v1/completions", asked(stream=stream))
        assert (answer.status, answer.error) == (503, "The prefill worker cannot be reached.")
        assert stage.computed("decode").generated == 0
        assert stage.counted.fallbacks == []


@KINDS
async def test_a_prefill_worker_that_is_stuck_may_fail_the_request(kind: str) -> None:
    async with staged(kind, disagg=replace(QUICK, prefill_failure="fail"), prefill=STUCK) as stage:
        answer = await stage.ask("/v1/completions", asked(stream=True))
        assert (answer.status, answer.error) == (504, "The prefill worker did not answer in time.")
        await given_up(stage)
        assert stage.computed("decode").generated == 0


@KINDS
async def test_what_a_failed_prefill_worker_says_stays_inside(kind: str) -> None:
    async with (
        listening(answered_500) as port,
        staged(kind, disagg=FAIL, route=prefilled_by(port=port)) as stage,
    ):
        answer = await stage.ask("/v1/completions", asked())
        assert (answer.status, answer.error) == (500, "The prefill worker failed.")


@KINDS
async def test_a_refusal_passes_as_it_is(kind: str) -> None:
    async with (
        listening(answered_422) as port,
        staged(kind, disagg=FAIL, route=prefilled_by(port=port)) as stage,
    ):
        answer = await stage.ask("/v1/completions", asked())
        assert (answer.status, answer.raw) == (422, b'{"error": {"message": "no such thing"}}')


@FALLING_BACK
async def test_enforced_disaggregation_has_no_way_around(kind: str, refusing_port: int) -> None:
    enforced = DisaggConfig(enforce=True)
    async with staged(kind, disagg=enforced, route=prefilled_by(port=refusing_port)) as stage:
        assert (await stage.ask("/v1/completions", asked())).status == 503
    async with staged(
        kind, disagg=enforced, route=lambda route: structs.replace(route, prefill=None)
    ) as stage:
        answer = await stage.ask("/v1/completions", asked())
        assert (answer.status, "without one is not allowed" in answer.error) == (503, True)


@KINDS
async def test_engines_of_two_kinds_cannot_serve_one_request(kind: str) -> None:
    other = EngineKind.SGLANG if kind != "sglang" else EngineKind.VLLM
    async with staged(kind, route=prefilled_by(engine=other)) as stage:
        answer = await stage.ask("/v1/completions", asked())
        assert answer.status == 400
        assert f"Prefill worker prefill runs {other}, decode worker decode runs {kind}" in answer.error


# --- what cannot be split --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"best_of": 2}, Reason.SAMPLES),
        ({"prompt_logprobs": 1}, Reason.PROMPT_LOGPROBS),
        ({"echo": True, "logprobs": 1}, Reason.PROMPT_LOGPROBS),
    ],
)
async def test_what_the_contract_cannot_carry_stays_whole(more: dict[str, Any], reason: Reason) -> None:
    async with staged("vllm") as stage:
        answer = await stage.ask("/v1/completions", asked(**more))
        assert answer.status == 200
        assert stage.computed("prefill").generated == 0
        assert stage.counted.fallbacks == [reason]


# --- the client leaves -----------------------------------------------------------------------------------


@KINDS
@STREAMS
async def test_a_client_that_leaves_stops_both_legs(kind: str, stream: bool) -> None:
    async with staged(kind, prefill=STUCK) as stage:
        request = asyncio.ensure_future(stage.ask("/v1/completions", asked(stream=stream)))
        await eventually(lambda: stage.fleet.runners[0].load() == (1, 0))
        request.cancel()
        with pytest.raises(asyncio.CancelledError):
            await request
        await eventually(lambda: stage.computed("prefill").finished == {"abort": 1})
        assert stage.computed("decode").generated == 0


@KINDS
async def test_a_client_that_leaves_while_decoding_stops_the_decode(kind: str) -> None:
    slow = replace(CONFIG, decode_tokens_per_s=20.0)
    async with staged(kind, decode=slow) as stage:
        async with stage.post("/v1/completions", asked(stream=True, max_tokens=1000)) as response:
            await response.content.readany()
            response.close()
        await eventually(lambda: stage.computed("decode").finished == {"abort": 1})
        assert stage.computed("prefill").generated == 1


# --- the decode fails after the prefill --------------------------------------------------------------------


@KINDS
async def test_a_decode_worker_that_is_down_frees_the_prefill_by_its_lease(
    kind: str, refusing_port: int
) -> None:
    def without_decode(route: Route) -> Route:
        endpoint = replace(route.worker.endpoint, port=refusing_port)
        return structs.replace(route, worker=Leg(endpoint))

    async with staged(kind, route=without_decode) as stage:
        answer = await stage.ask("/v1/completions", asked())
        assert (answer.status, answer.error) == (503, "The worker chosen for this request cannot be reached.")
        assert stage.shelf("prefill")[1] == 0


async def test_an_engine_is_not_fooled_by_another_prompts_kv() -> None:
    """The simulation is strict: what the tests above show would fail if a body were mixed up."""
    async with staged("vllm") as stage:
        prefill = next(a for a in stage.fleet.addresses if a.name == "prefill")
        decode = next(a for a in stage.fleet.addresses if a.name == "decode")
        params = {"do_remote_decode": True}
        first = await stage.ask(
            "/v1/completions", asked(kv_transfer_params=params), f"http://{prefill.host_port}"
        )
        handed = json.loads(first.raw)["kv_transfer_params"]
        wrong = asked(kv_transfer_params=handed) | {"prompt": "something else"}
        url = f"http://{decode.host_port}"
        assert (await stage.ask("/v1/completions", wrong, url)).status == 500
        assert (await stage.ask("/v1/completions", asked(kv_transfer_params=handed), url)).status == 500
