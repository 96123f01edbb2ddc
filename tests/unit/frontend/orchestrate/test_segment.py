"""The segment's decisions, over fakes: who is called, in which order, and what is told."""

import asyncio
import json

import pytest
from msgspec import structs

from epp.core.endpoints import EngineKind, Role
from epp.core.requests import Api
from frontend.config.model import DisaggConfig
from frontend.errors import ApiError
from frontend.http.api import Failure, Reply, UpstreamError, UpstreamRequest, whole
from frontend.orchestrate.failures import PrefillLostError
from frontend.orchestrate.segment import Orchestrator
from frontend.pipeline.call import Call
from frontend.pipeline.lost import WorkerLostError

from .fakes import Below, Counts, FakeUpstream, Health, Recorded, Response, call, pair, parts, settle

HANDED = b'{"choices":[{"finish_reason":"length"}],"kv_transfer_params":{"x":1}}'


async def handed_over(request: UpstreamRequest) -> Response:
    return Response(200, HANDED)


async def refused(request: UpstreamRequest) -> Response:
    return Response(404, b'{"error":1}', {"content-type": "application/problem+json"})


async def overloaded(request: UpstreamRequest) -> Response:
    return Response(529, b"later")


async def unreachable(request: UpstreamRequest) -> Response:
    raise UpstreamError(Failure.CONNECT, "refused")


async def forever(request: UpstreamRequest) -> Response:
    await asyncio.Event().wait()
    raise AssertionError("unreachable")


async def decoded(call: Call, reply: Reply) -> None:
    whole(reply, 200, (), b"decoded")


async def never_decoded(call: Call, reply: Reply) -> None:
    await asyncio.Event().wait()


class Bench:
    """An orchestrator over fakes."""

    def __init__(self, upstream: FakeUpstream, below: Below, config: DisaggConfig | None = None) -> None:
        self.upstream, self.below = upstream, below
        self.health, self.counts, self.reply = Health(), Counts(), Recorded()
        components = parts(upstream, self.health)
        self.segment = Orchestrator(below, config or DisaggConfig(), components, self.counts)


async def test_without_a_prefill_worker_it_passes_on() -> None:
    bench = Bench(FakeUpstream(forever), Below(decoded))
    for route in (None, structs.replace(pair(EngineKind.VLLM), prefill=None)):
        asked = call(route)
        await bench.segment.handle(asked, bench.reply)
        assert bench.below.bodies.pop() == asked.body.encode()
    assert bench.counts.told == bench.upstream.sent == []


async def test_switched_off_it_passes_on() -> None:
    bench = Bench(FakeUpstream(forever), Below(decoded), DisaggConfig(enabled=False))
    await bench.segment.handle(call(pair(EngineKind.VLLM)), bench.reply)
    assert (bench.reply.body, bench.upstream.sent) == (b"decoded", [])


async def test_prefill_then_decode() -> None:
    bench = Bench(FakeUpstream(handed_over), Below(decoded))
    asked = call(pair(EngineKind.VLLM), max_tokens=9)
    await bench.segment.handle(asked, bench.reply)
    (sent,) = bench.upstream.sent
    assert (sent.host_port, sent.method, sent.path) == ("10.0.0.1:8000", "POST", "/v1/chat/completions")
    headers = dict(sent.headers)
    assert (headers["authorization"], headers["x-request-id"]) == ("Bearer k", "r")
    assert json.loads(bench.below.bodies[0])["kv_transfer_params"] == {"x": 1}
    assert "kv_transfer_params" not in asked.body
    assert bench.reply.body == b"decoded"
    assert bench.counts.told == ["done"]
    assert bench.health.told == [("sent", 1), ("succeeded", 1)]
    assert (asked.facts.prefill_s, asked.facts.dispatched_s, asked.facts.fallback) == (0.0, 0.0, "")


async def test_the_clients_body_is_back_when_the_decode_fails() -> None:
    async def lost(call: Call, reply: Reply) -> None:
        raise WorkerLostError(Failure.RESET, 2)

    bench = Bench(FakeUpstream(handed_over), Below(lost))
    asked = call(pair(EngineKind.VLLM))
    before = asked.body
    with pytest.raises(WorkerLostError):
        await bench.segment.handle(asked, bench.reply)
    assert asked.body is before


async def test_a_lost_prefill_worker_can_be_passed_over_by_whoever_retries() -> None:
    bench = Bench(FakeUpstream(unreachable), Below(decoded), DisaggConfig(prefill_failure="fail"))
    with pytest.raises(PrefillLostError) as caught:
        await bench.segment.handle(call(pair(EngineKind.VLLM)), bench.reply)
    assert (caught.value.worker_id, caught.value.status, caught.value.unbegun) == (1, 503, True)
    assert caught.value.message == "The prefill worker cannot be reached."
    assert bench.health.told == [("sent", 1), ("failed", 1)]


async def test_a_refusal_is_not_the_workers_fault() -> None:
    bench = Bench(FakeUpstream(refused), Below(decoded), DisaggConfig(prefill_failure="fail"))
    await bench.segment.handle(call(pair(EngineKind.VLLM)), bench.reply)
    assert (bench.reply.status, bench.reply.body) == (404, b'{"error":1}')
    assert ("content-type", "application/problem+json") in bench.reply.headers
    assert bench.health.told == [("sent", 1), ("succeeded", 1)]


async def test_an_overloaded_prefill_worker_keeps_its_status() -> None:
    bench = Bench(FakeUpstream(overloaded), Below(decoded), DisaggConfig(prefill_failure="fail"))
    with pytest.raises(ApiError) as caught:
        await bench.segment.handle(call(pair(EngineKind.VLLM)), bench.reply)
    assert (caught.value.status, caught.value.cause) == (529, "prefill-error")


@pytest.mark.parametrize(
    ("engine", "role", "api", "reason"),
    [
        (EngineKind.TRITON, Role.DECODE, Api.CHAT, "engine"),
        (EngineKind.SGLANG, Role.AGGREGATED, Api.CHAT, "role"),
        (EngineKind.SGLANG, Role.DECODE, Api.EMBEDDINGS, "api"),
        (EngineKind.TRTLLM, Role.DECODE, Api.RESPONSES, "api"),
    ],
)
async def test_what_has_no_contract_is_served_whole(
    engine: EngineKind, role: Role, api: Api, reason: str
) -> None:
    bench = Bench(FakeUpstream(forever), Below(decoded))
    asked = call(pair(engine, role), api)
    await bench.segment.handle(asked, bench.reply)
    assert (bench.reply.body, bench.counts.told) == (b"decoded", [f"fallback {reason}"])
    assert asked.facts.fallback == reason


# --- both legs at once -----------------------------------------------------------------------------------


async def test_an_answer_does_not_wait_for_the_prefills_own() -> None:
    bench = Bench(FakeUpstream(forever), Below(decoded))
    await bench.segment.handle(call(pair(EngineKind.SGLANG)), bench.reply)
    assert bench.reply.body == b"decoded"
    await bench.segment.close()


async def test_a_decode_worker_that_needs_a_room_gets_one_whatever_the_thresholds() -> None:
    config = DisaggConfig(min_prompt_tokens=10**6, min_uncached_tokens=10**6)
    bench = Bench(FakeUpstream(handed_over), Below(decoded), config)
    await bench.segment.handle(call(structs.replace(pair(EngineKind.SGLANG), uncached_tokens=1)), bench.reply)
    assert "bootstrap_room" in json.loads(bench.below.bodies[0])
    await settle()
    assert (bench.segment.draining, bench.counts.told) == (0, ["done"])


async def test_closing_stops_what_is_still_drained() -> None:
    stopped = asyncio.Event()

    async def watched(request: UpstreamRequest) -> Response:
        try:
            return await forever(request)
        finally:
            stopped.set()

    async def decoded_later(call: Call, reply: Reply) -> None:
        await settle()
        await decoded(call, reply)

    bench = Bench(FakeUpstream(watched), Below(decoded_later))
    await bench.segment.handle(call(pair(EngineKind.SGLANG)), bench.reply)
    assert not stopped.is_set()
    await bench.segment.close()
    assert stopped.is_set()


async def test_a_prefill_that_fails_ends_a_decode_that_waits_for_it() -> None:
    async def head_only(call: Call, reply: Reply) -> None:
        reply.start(200, ())
        await never_decoded(call, reply)

    for waits in (never_decoded, head_only):
        bench = Bench(FakeUpstream(unreachable), Below(waits))
        with pytest.raises(PrefillLostError):
            await bench.segment.handle(call(pair(EngineKind.SGLANG)), bench.reply)
        assert bench.counts.told == ["failed connect"]


async def test_a_prefill_that_breaks_after_the_first_token_changes_nothing() -> None:
    flowed = asyncio.Event()

    async def breaks(request: UpstreamRequest) -> Response:
        await flowed.wait()
        raise UpstreamError(Failure.RESET, "gone")

    async def streams(call: Call, reply: Reply) -> None:
        reply.start(200, ())
        reply.data(b"one ")
        flowed.set()
        await settle()
        reply.data(b"two")
        reply.end()

    bench = Bench(FakeUpstream(breaks), Below(streams))
    await bench.segment.handle(call(pair(EngineKind.SGLANG)), bench.reply)
    assert (bench.reply.body, bench.reply.ended) == (b"one two", True)
    assert bench.counts.told == ["failed reset"]


async def test_a_decode_that_fails_stops_the_prefill() -> None:
    stopped = asyncio.Event()

    async def watched(request: UpstreamRequest) -> Response:
        try:
            return await forever(request)
        finally:
            stopped.set()

    async def fails(call: Call, reply: Reply) -> None:
        await settle()
        raise WorkerLostError(Failure.RESET, 2)

    bench = Bench(FakeUpstream(watched), Below(fails))
    with pytest.raises(WorkerLostError):
        await bench.segment.handle(call(pair(EngineKind.SGLANG)), bench.reply)
    await settle()
    assert stopped.is_set()


async def test_a_client_that_leaves_stops_both_legs() -> None:
    stopped: list[str] = []

    async def watched(request: UpstreamRequest) -> Response:
        try:
            return await forever(request)
        finally:
            stopped.append("prefill")

    async def waits(call: Call, reply: Reply) -> None:
        try:
            await never_decoded(call, reply)
        finally:
            stopped.append("decode")

    bench = Bench(FakeUpstream(watched), Below(waits))
    task = asyncio.ensure_future(bench.segment.handle(call(pair(EngineKind.SGLANG)), bench.reply))
    await settle()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await settle()
    assert sorted(stopped) == ["decode", "prefill"]


async def test_a_fault_of_our_own_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def bug(request: UpstreamRequest) -> Response:
        raise RuntimeError("bug")

    async def decoded_later(call: Call, reply: Reply) -> None:
        reply.start(200, ())
        reply.data(b"text")
        await settle()
        reply.end()

    bench = Bench(FakeUpstream(bug), Below(decoded_later))
    await bench.segment.handle(call(pair(EngineKind.SGLANG)), bench.reply)
    assert "a prefill leg failed" in caplog.text
