"""The leaf: what a worker is sent, what a client gets, and how failures are told."""

import asyncio
import itertools
import json
from typing import Any

import pytest

from epp.core.outcomes import Ending, Picked
from epp.core.requests import Api
from frontend.config.model import FrontendConfig, ToleranceConfig
from frontend.errors import ApiError
from frontend.http.api import Failure, UpstreamError
from frontend.pipeline.call import Leg, Route
from frontend.pipeline.lost import WorkerLostError
from frontend.relay.forward import Forward
from tests.unit.frontend.fakes import FakeReply, FakeResponse, FakeUpstream, call, components, worker


class Ledger:
    """Health that writes down what it hears."""

    def __init__(self) -> None:
        self.heard = []

    def usable(self, worker_id: Any) -> Any:
        return True

    def sent(self, worker_id: Any) -> None:
        self.heard.append(("sent", worker_id))

    def succeeded(self, worker_id: Any) -> None:
        self.heard.append(("succeeded", worker_id))

    def failed(self, worker_id: Any) -> None:
        self.heard.append(("failed", worker_id))


async def forward(
    request: Any,
    answer: Any = None,
    *,
    rank: Any = 0,
    health: Any = None,
    config: Any = None,
    route: Any = None,
    **endpoint: Any,
) -> Any:
    upstream = FakeUpstream(lambda _: answer or FakeResponse())
    request.route = route or Route(Leg(worker(1, **endpoint), rank))
    ticks = itertools.count(1)
    parts = components(upstream=upstream, health=health, clock=lambda: float(next(ticks)))
    reply = FakeReply()
    await Forward(config or FrontendConfig(), parts).handle(request, reply)
    return upstream.sent[0], reply


async def test_headers_pass_but_for_those_of_connections_and_routing() -> None:
    sent, _ = await forward(
        call(
            headers={
                "authorization": "Bearer k",
                "traceparent": "00-1-2-01",
                "tracestate": "a=b",
                "x-request-id": "client-1",
                "content-type": "application/json",
                "content-length": "5",
                "host": "front",
                "connection": "keep-alive, X-Hop",
                "x-hop": "1",
                "keep-alive": "timeout=5",
                "te": "trailers",
                "transfer-encoding": "chunked",
                "expect": "100-continue",
                "accept-encoding": "gzip",
                "x-dynamo-worker-instance-id": "1",
                "x-worker-instance-id": "1",
                "x-dynamo-dp-rank": "0",
                "x-data-parallel-rank": "7",
                "x-dynamo-prefill-instance-id": "2",
                "x-dynamo-routing-mode": "aggregated",
                "x-prefiller-host-port": "10.0.0.2:1",
                "x-encoder-hosts-ports": "10.0.0.2:1",
                "x-llm-d-inference-objective": "urgent",
                "x-dynamo-session-id": "s",
                "x-gateway-destination-endpoint": "10.0.0.1:1",
                "x-gateway-destination-endpoint-subset": "10.0.0.1",
            }
        )
    )
    assert dict(sent.headers) == {
        "authorization": "Bearer k",
        "traceparent": "00-1-2-01",
        "tracestate": "a=b",
        "x-request-id": "client-1",
        "content-type": "application/json",
        "x-dynamo-session-id": "s",
    }
    assert (sent.host_port, sent.method, sent.path) == ("10.0.0.1:8000", "POST", "/v1/chat/completions")


async def test_our_headers_replace_the_clients() -> None:
    request = call(headers={"traceparent": "theirs"}, forward_headers={"traceparent": "ours"})
    sent, _ = await forward(request)
    assert sent.headers == (("traceparent", "ours"), ("x-request-id", "r1"))


@pytest.mark.parametrize(("dp_size", "rank", "told"), [(1, 0, None), (4, 3, "3"), (4, 0, "0"), (4, -1, None)])
async def test_ranks_are_told_where_there_are_several(dp_size: Any, rank: Any, told: Any) -> None:
    sent, _ = await forward(call(), rank=rank, dp_size=dp_size)
    assert dict(sent.headers).get("x-data-parallel-rank") == told


async def test_sglangs_own_api_is_told_the_rank_in_the_body() -> None:
    request = call({"input_ids": [1]}, api=Api.SGLANG_GENERATE, path="/generate")
    sent, _ = await forward(request, rank=3, dp_size=4)
    assert json.loads(sent.body)["routed_dp_rank"] == 3
    sent, _ = await forward(request)
    assert "routed_dp_rank" not in json.loads(sent.body)


async def test_a_body_that_is_not_ours_to_change_goes_byte_for_byte() -> None:
    request = call()
    sent, _ = await forward(request)
    assert sent.body is request.body.encode()


async def test_fields_meant_for_us_stay_here() -> None:
    sent, _ = await forward(
        call({"nvext": {"backend_instance_id": 1}, "routing": {}, "router_config_override": {}, "zz": [1.0]})
    )
    assert json.loads(sent.body) == {
        "model": "m",
        "messages": [{"role": "user", "content": "hello"}],
        "zz": [1.0],
    }


async def test_deadlines_are_the_configured_ones() -> None:
    tolerance = ToleranceConfig(connect_timeout_s=1, response_timeout_s=2, idle_timeout_s=3)
    sent, _ = await forward(call(), config=FrontendConfig(tolerance=tolerance))
    assert (sent.limits.connect_s, sent.limits.head_s, sent.limits.idle_s) == (1, 2, 3)


async def test_pieces_pass_as_they_come_and_are_counted() -> None:
    request = call({"stream": True})
    answer = FakeResponse(pieces=(b"da", b"ta: 1\n\n", b"data: [DONE]\n\n"))
    _, reply = await forward(request, answer)
    assert reply.pieces == [b"da", b"ta: 1\n\n", b"data: [DONE]\n\n"]
    assert reply.ended
    facts = request.facts
    assert (facts.status, facts.chunks) == (200, 3)
    assert (facts.dispatched_s, facts.first_token_s, facts.last_token_s) == (1.0, 2.0, 4.0)


async def test_an_answers_headers_pass_and_the_routers_join() -> None:
    answer = FakeResponse(
        headers={
            "content-type": "a/b",
            "content-length": "2",
            "connection": "close, X-Hop",
            "x-hop": "1",
            "server": "u",
            "x-up": "1",
        }
    )
    picked = Picked(("10.0.0.1:8000",), "r1")
    route = Route(Leg(worker(1)), picked=picked, response_headers=(("x-session", "s"),))
    _, reply = await forward(call(), answer, route=route)
    assert reply.headers == {"content-type": "a/b", "content-length": "2", "x-up": "1", "x-session": "s"}


async def test_an_answer_whose_head_cannot_be_passed_on_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise ValueError("no such status")

    monkeypatch.setattr(FakeReply, "start", refuse)
    answer = FakeResponse()
    with pytest.raises(ValueError, match="no such status"):
        await forward(call(), answer)
    assert answer.closed


@pytest.mark.parametrize("status", [200, 400, 404, 422, 429, 503, 529])
async def test_statuses_that_pass_as_they_are(status: Any) -> None:
    health = Ledger()
    _, reply = await forward(call(), FakeResponse(status, (b'{"detail":"x"}',)), health=health)
    assert (reply.status, reply.body) == (status, b'{"detail":"x"}')
    assert health.heard == [("sent", 1), ("succeeded", 1)]


@pytest.mark.parametrize("status", [301, 307, 500, 501, 502, 504, 599])
async def test_a_workers_fault_is_told_without_its_words(status: Any, caplog: Any) -> None:
    health, request = Ledger(), call()
    with pytest.raises(ApiError) as caught:
        await forward(request, FakeResponse(status, (b"secret traceback",)), health=health)
    assert (caught.value.status, caught.value.message) == (500, "The worker failed to serve this request.")
    assert "secret traceback" in caplog.text
    assert request.facts.status == status
    assert health.heard == [("sent", 1), ("failed", 1)]


@pytest.mark.parametrize(
    ("kind", "said"),
    [("text/plain; charset=utf-8", b"404: Not Found"), ("application/json", b'{"detail":"Not Found"}')],
)
async def test_an_endpoint_that_a_worker_lacks_is_named(kind: str, said: bytes) -> None:
    health = Ledger()
    _, reply = await forward(call(), FakeResponse(404, (said,), {"content-type": kind}), health=health)
    assert (reply.status, reply.headers["content-type"]) == (404, "application/json")
    message = json.loads(reply.body)["error"]["message"]
    assert message == "The worker of model `m` has no endpoint /v1/chat/completions."
    assert health.heard == [("sent", 1), ("succeeded", 1)]


async def test_a_model_that_a_worker_lacks_is_told_in_its_words() -> None:
    said = b'{"error":{"message":"The model `m` does not exist."}}'
    headers = {"content-type": "application/json", "content-length": str(len(said))}
    _, reply = await forward(call(), FakeResponse(404, (said,), headers))
    assert (reply.status, reply.body) == (404, said)


async def test_nobody_is_sent_to_a_workers_own_address(caplog: Any) -> None:
    redirection = FakeResponse(307, headers={"location": "http://10.0.0.1:8000/v1/"})
    with pytest.raises(ApiError) as caught:
        await forward(call(), redirection)
    assert caught.value.status == 500
    assert "to http://10.0.0.1:8000/v1/" in caplog.text


async def test_a_fault_whose_account_breaks_off_is_still_a_fault() -> None:
    broken = FakeResponse(500, error=UpstreamError(Failure.RESET, "gone", answered=True))
    with pytest.raises(ApiError) as caught:
        await forward(call(), broken)
    assert caught.value.status == 500


@pytest.mark.parametrize(
    ("failure", "status"),
    [
        (Failure.CONNECT, 503),
        (Failure.RESET, 502),
        (Failure.TIMEOUT, 504),
        (Failure.PROTOCOL, 502),
        (Failure.TOO_LARGE, 502),
    ],
)
async def test_failures_have_statuses(failure: Any, status: Any) -> None:
    health = Ledger()
    with pytest.raises(WorkerLostError) as caught:
        await forward(call(), UpstreamError(failure, "10.0.0.1:8000: details"), health=health)
    error = caught.value
    assert (error.status, error.failure, error.worker_id) == (status, failure, 1)
    assert "10.0.0.1" not in error.message
    assert health.heard == [("sent", 1), ("failed", 1)]


async def test_a_stream_that_breaks_off_is_not_ended() -> None:
    answer = FakeResponse(pieces=(b"a",), error=UpstreamError(Failure.RESET, "gone", answered=True))
    upstream = FakeUpstream(lambda _: answer)
    request, reply = call(), FakeReply()
    request.route = Route(Leg(worker(1)))
    with pytest.raises(WorkerLostError):
        await Forward(FrontendConfig(), components(upstream=upstream)).handle(request, reply)
    assert (reply.pieces, reply.ended) == ([b"a"], False)


@pytest.mark.parametrize(("cut", "word"), [(Ending.COMPLETED, "succeeded"), (Ending.ERROR, "failed")])
async def test_an_answer_ended_from_above_says_what_whoever_ended_it_says(cut: Ending, word: str) -> None:
    health = Ledger()
    with pytest.raises(asyncio.CancelledError):
        await forward(call(cut=cut), asyncio.CancelledError(), health=health)
    assert health.heard == [("sent", 1), (word, 1)]


async def test_a_client_that_leaves_says_nothing_of_the_worker() -> None:
    health = Ledger()
    with pytest.raises(asyncio.CancelledError):
        await forward(call(), asyncio.CancelledError(), health=health)
    assert health.heard == [("sent", 1)]
