"""``disaggregated_params``: context first, then generation with what the context left behind."""

import json
from typing import Any

import pytest

from epp.core.requests import Api
from frontend.body import Body
from frontend.orchestrate.contract import Decode, Terminal
from frontend.orchestrate.failures import PrefillError, Reason
from frontend.orchestrate.trtllm import TrtllmContract, draw_request_id

CONTRACT = TrtllmContract(draw=lambda: 5_000_000_000_000)
STATE = b'{"request_type":"context_only","ctx_request_id":18446744073709551615,"encoded_opaque_state":"AA=="}'


def answer(finish: str | None = "length", params: bytes = STATE, ids: bytes = b"[7, 8,9]") -> bytes:
    choice = b'{"index":0,"finish_reason":%b,"disaggregated_params":%b}' % (
        json.dumps(finish).encode(),
        params,
    )
    return b'{"id":"x","choices":[%b],"prompt_token_ids":%b}' % (choice, ids)


def test_the_context_keeps_its_limits() -> None:
    body = Body.of({"prompt": "p", "max_tokens": 50, "stream": True, "stream_options": {}})
    got = json.loads(CONTRACT.prefill(Api.COMPLETIONS, body).encode())
    params = {"request_type": "context_only", "disagg_request_id": 5_000_000_000_000}
    assert got == {"prompt": "p", "max_tokens": 50, "stream": False, "disaggregated_params": params}


def test_ids_stay_clear_of_the_engines_own() -> None:
    drawn = {draw_request_id() for _ in range(100)}
    assert len(drawn) == 100
    assert all(1 << 42 <= number < 1 << 63 for number in drawn)


@pytest.mark.parametrize(
    ("api", "field", "other"),
    [(Api.CHAT, "prompt_token_ids", "messages"), (Api.COMPLETIONS, "prompt", None)],
)
def test_the_state_goes_on_with_the_type_changed_only(api: Api, field: str, other: str | None) -> None:
    body = Body.of({"prompt": "p"} if other is None else {"messages": []})
    step = CONTRACT.hand_over(api, body, answer())
    assert isinstance(step, Decode)
    assert step.body.raw("disaggregated_params") == STATE.replace(b"context_only", b"generation_only")
    assert step.body.raw(field) == b"[7, 8,9]"
    assert other is None or other in step.body


def test_without_ids_the_prompt_stays_text() -> None:
    step = CONTRACT.hand_over(Api.COMPLETIONS, Body.of({"prompt": "p"}), answer(ids=b"null"))
    assert isinstance(step, Decode)
    assert step.body.raw("prompt") == b'"p"'


def test_a_context_that_ended_by_itself_is_the_answer() -> None:
    step = CONTRACT.hand_over(Api.COMPLETIONS, Body.of({}), answer("stop"))
    assert isinstance(step, Terminal)
    assert json.loads(step.answer.encode()) == {"id": "x", "choices": [{"index": 0, "finish_reason": "stop"}]}


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (answer(params=b"null"), Reason.NO_HANDOVER),
        (answer(params=b"[]"), Reason.NO_HANDOVER),
        (b'{"choices": []}', Reason.NO_HANDOVER),
        (b'{"choices": [{}, {}]}', Reason.NO_HANDOVER),
        (b"<html>", Reason.PROTOCOL),
    ],
)
def test_an_answer_of_no_use(raw: bytes, reason: Reason) -> None:
    with pytest.raises(PrefillError) as caught:
        CONTRACT.hand_over(Api.CHAT, Body.of({}), raw)
    assert caught.value.reason is reason


@pytest.mark.parametrize(
    ("api", "fields", "reason"),
    [(Api.CHAT, {"n": 4}, Reason.SAMPLES), (Api.CHAT, {}, None), (Api.RESPONSES, {}, Reason.API)],
)
def test_what_cannot_be_split(api: Api, fields: dict[str, Any], reason: Reason | None) -> None:
    assert CONTRACT.refuses(api, Body.of(fields)) is reason
