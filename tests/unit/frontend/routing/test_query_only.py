"""Query-only: the pair that would serve and the prompt's tokens, and nothing booked."""

import json
from typing import Any

import pytest

from epp.core.requests import Api
from epp.core.tokens import Exactness
from frontend.config.model import FrontendConfig
from frontend.routing.discover import DiscoverRouter
from frontend.routing.query_only import QueryOnly
from tests.unit.frontend.fakes import FakeReply, call, components
from tests.unit.frontend.routing.test_discover import PAIRS, bookings
from tests.unit.picking.stage import Spine, tokens_of

ASK = {"nvext": {"annotations": ["query_instance_id:"]}}


class Next:
    name = "next"

    def __init__(self) -> None:
        self.seen = 0

    async def handle(self, request: Any, reply: Any) -> None:
        self.seen += 1


def query(spine: Spine, next_: Any = None) -> QueryOnly:
    parts = components(snapshot=lambda: spine.fleet.snapshot, picker=spine.picker)
    return QueryOnly(next_, DiscoverRouter(spine.picker, FrontendConfig(), parts), parts)


def ids(text: str) -> list[int]:
    flat = tokens_of(text)
    return [int.from_bytes(flat[i : i + 4], "little") for i in range(0, len(flat), 4)]


async def asked(spine: Spine, request: Any) -> FakeReply:
    reply, below = FakeReply(), Next()
    await query(spine, below).handle(request, reply)
    assert below.seen == 0
    assert reply.ended
    assert bookings(spine) == 0
    return reply


@pytest.mark.parametrize("annotation", ["query_instance_id:", "query_instance_id:anything"])
async def test_the_annotation_stops_a_request_and_tells_the_pair(annotation: Any) -> None:
    reply = await asked(Spine(*PAIRS), call({"nvext": {"annotations": [annotation]}}))
    page = json.loads(reply.body)
    workers = page["nvext"]["worker_id"]
    assert workers["prefill_worker_id"] in (1, 2)
    assert workers["decode_worker_id"] in (3, 4)
    assert (workers["prefill_dp_rank"], workers["decode_dp_rank"]) == (0, 0)
    assert page["nvext"]["token_ids"] == ids("hello")
    assert page["object"] == "chat.completion"
    assert page["choices"] == [
        {"index": 0, "message": {"role": "assistant", "content": None}, "finish_reason": None}
    ]
    assert "usage" not in page


async def test_unsplit_one_worker_does_both() -> None:
    reply = await asked(Spine(), call(ASK))
    workers = json.loads(reply.body)["nvext"]["worker_id"]
    assert workers["prefill_worker_id"] == workers["decode_worker_id"]


async def test_streams_end_as_streams_do() -> None:
    reply = await asked(Spine(), call({**ASK, "stream": True}))
    assert reply.headers["content-type"].startswith("text/event-stream")
    first, done, rest = reply.body.split(b"\n\n")
    page = json.loads(first.removeprefix(b"data: "))
    assert page["object"] == "chat.completion.chunk"
    assert "delta" in page["choices"][0]
    assert page["nvext"]["token_ids"] == ids("hello")
    assert (done, rest) == (b"data: [DONE]", b"")


async def test_completions_have_their_own_shape() -> None:
    request = call({**ASK, "prompt": "hello you"}, api=Api.COMPLETIONS, path="/v1/completions")
    page = json.loads((await asked(Spine(), request)).body)
    assert (page["object"], page["choices"][0]["text"]) == ("text_completion", "")
    assert page["nvext"]["token_ids"] == ids("hello you")


async def test_apis_without_choices_are_answered_with_an_empty_list() -> None:
    request = call(ASK, api=Api.EMBEDDINGS, path="/v1/embeddings")
    page = json.loads((await asked(Spine(), request)).body)
    assert (page["object"], page["data"]) == ("list", [])
    assert page["nvext"]["token_ids"] == ids("hello")


async def test_other_requests_pass() -> None:
    below = Next()
    await query(Spine(), below).handle(call({"nvext": {"annotations": ["token_ids"]}}), FakeReply())
    assert below.seen == 1


async def test_as_a_mode_every_request_is_a_question() -> None:
    reply = FakeReply()
    await query(Spine()).handle(call(), reply)
    assert json.loads(reply.body)["nvext"]["token_ids"] == ids("hello")


@pytest.mark.parametrize(
    ("exactness", "shown"), [(Exactness.EXACT, True), (Exactness.PARTIAL, True), (Exactness.ESTIMATED, False)]
)
async def test_estimates_are_not_shown_as_ids(exactness: Exactness, shown: bool) -> None:
    spine = Spine()
    spine.tokenizer.exactness = exactness
    page = await query(spine).answer(call())
    assert page["tokens"] == exactness.value
    assert page["prompt_tokens"] == 1
    assert page["token_ids"] == (ids("hello") if shown else None)
    asked_ = json.loads((await asked(spine, call(ASK))).body)
    assert asked_["nvext"]["token_ids"] == page["token_ids"]


async def test_the_plain_answer_names_addresses_and_explains_on_demand() -> None:
    spine = Spine(*PAIRS)
    page = await query(spine).answer(call())
    assert page["worker"]["endpoint"] == f"10.0.0.{page['worker']['worker_id']}:8000"
    assert page["prefill_worker"]["role"] == "prefill"
    assert page["routing_mode"] == "disaggregated"
    assert page["token_ids"] == ids("hello")
    assert page["reason"].startswith("kv: ")
    assert "explanation" not in page
    rows = (await query(spine).answer(call(), explain=True))["explanation"]["candidates"]
    assert {(row["worker_id"], row["phase"]) for row in rows} == {
        (1, "prefill"),
        (2, "prefill"),
        (3, "decode"),
        (4, "decode"),
    }
    assert bookings(spine) == 0
