"""``kv_transfer_params``: what the prefill is asked, what its answer means, what the decode gets."""

import json
from typing import Any

import pytest

from epp.core.requests import Api
from frontend.body import Body
from frontend.errors import ApiError
from frontend.orchestrate.contract import Decode, Terminal
from frontend.orchestrate.failures import PrefillError, Reason
from frontend.orchestrate.vllm import VllmContract

CONTRACT = VllmContract()
PARAMS = {
    "do_remote_decode": True,
    "do_remote_prefill": False,
    "remote_engine_id": None,
    "remote_block_ids": None,
    "remote_host": None,
    "remote_port": None,
}
HANDED = b'{"do_remote_prefill":true,"remote_block_ids":[[1,2]], "big":18446744073709551615,"x":1.50}'


def prefill(api: Api, **fields: Any) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(CONTRACT.prefill(api, Body.of(fields)).encode())
    return body


def answer(finish: str | None = "length", handed: bytes = HANDED) -> bytes:
    choice = json.dumps({"index": 0, "text": "a", "finish_reason": finish}).encode()
    return b'{"id":"cmpl-1","choices":[%b],"usage":{},"kv_transfer_params":%b}' % (choice, handed)


def test_a_chat_is_shortened_to_one_token_and_marked() -> None:
    asked = {"model": "m", "messages": [], "stream": True, "stream_options": {"include_usage": True}}
    got = prefill(
        Api.CHAT, **asked, temperature=0.5, logprobs=True, tools=[], response_format={"type": "json"}
    )
    assert got == {
        "model": "m",
        "messages": [],
        "stream": False,
        "max_tokens": 1,
        "temperature": 0.5,
        "logprobs": True,
        "tools": [],
        "response_format": {"type": "json"},
        "kv_transfer_params": PARAMS,
    }


@pytest.mark.parametrize(
    ("api", "given", "expected"),
    [
        (Api.CHAT, {"max_completion_tokens": 9}, {"max_completion_tokens": 1, "max_tokens": 1}),
        (Api.CHAT, {"max_tokens": 9}, {"max_tokens": 1}),
        (Api.COMPLETIONS, {"max_tokens": 9, "min_tokens": 4}, {"max_tokens": 1, "min_tokens": 1}),
        (Api.COMPLETIONS, {"min_tokens": 0}, {"max_tokens": 1, "min_tokens": 0}),
        (Api.RESPONSES, {"max_output_tokens": 9}, {"max_output_tokens": 1, "store": False}),
        (Api.RESPONSES, {"store": True}, {"max_output_tokens": 1, "store": False}),
        (
            Api.VLLM_GENERATE,
            {"token_ids": [1], "sampling_params": {"max_tokens": 7, "min_tokens": 3, "stop": ["x"]}},
            {"token_ids": [1], "sampling_params": {"max_tokens": 1, "min_tokens": 1, "stop": ["x"]}},
        ),
        (Api.VLLM_GENERATE, {"token_ids": [1]}, {"token_ids": [1], "sampling_params": {"max_tokens": 1}}),
    ],
)
def test_every_limit_becomes_one(api: Api, given: dict[str, Any], expected: dict[str, Any]) -> None:
    assert prefill(api, **given) == expected | {"stream": False, "kv_transfer_params": PARAMS}


def test_the_hand_over_is_passed_byte_for_byte() -> None:
    asked = Body(b'{"prompt": "p",  "stream": true}')
    step = CONTRACT.hand_over(Api.COMPLETIONS, asked, answer())
    assert isinstance(step, Decode)
    assert step.body.raw("kv_transfer_params") == HANDED
    assert step.body.raw("stream") == b"true"
    assert asked.encode() == b'{"prompt": "p",  "stream": true}'


def test_a_clients_own_parameters_do_not_survive() -> None:
    asked = Body.of({"prompt": "p", "kv_transfer_params": {"remote_host": "elsewhere"}})
    assert json.loads(CONTRACT.prefill(Api.COMPLETIONS, asked).encode())["kv_transfer_params"] == PARAMS
    step = CONTRACT.hand_over(Api.COMPLETIONS, asked, answer())
    assert isinstance(step, Decode)
    assert step.body.raw("kv_transfer_params") == HANDED


@pytest.mark.parametrize(
    ("api", "fields"),
    [
        (Api.CHAT, {"max_tokens": 1}),
        (Api.CHAT, {"max_completion_tokens": 1, "max_tokens": 50}),
        (Api.COMPLETIONS, {"max_tokens": 1}),
        (Api.VLLM_GENERATE, {"token_ids": [1], "sampling_params": {"max_tokens": 1}}),
    ],
)
def test_who_wants_one_token_needs_no_hand_over(api: Api, fields: dict[str, Any]) -> None:
    assert "kv_transfer_params" not in prefill(api, **fields)
    step = CONTRACT.hand_over(api, Body.of(fields), answer(handed=b"null"))
    assert isinstance(step, Terminal)


def test_a_larger_max_completion_tokens_wins_over_max_tokens_one() -> None:
    fields = {"max_completion_tokens": 50, "max_tokens": 1}
    assert isinstance(CONTRACT.hand_over(Api.CHAT, Body.of(fields), answer()), Decode)


def test_a_stop_at_the_first_token_is_the_end() -> None:
    step = CONTRACT.hand_over(Api.COMPLETIONS, Body.of({"max_tokens": 5}), answer("stop"))
    assert isinstance(step, Terminal)
    assert json.loads(step.answer.encode())["kv_transfer_params"] is None


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (answer(handed=b"null"), Reason.NO_HANDOVER),
        (b'{"choices": []}', Reason.NO_HANDOVER),
        (b"{}", Reason.NO_HANDOVER),
        (b"", Reason.PROTOCOL),
        (b"[]", Reason.PROTOCOL),
        (b'{"choices": [{"finish_reason": 7}]}', Reason.PROTOCOL),
        (b"\xff", Reason.PROTOCOL),
    ],
)
def test_an_answer_of_no_use(raw: bytes, reason: Reason) -> None:
    with pytest.raises(PrefillError) as caught:
        CONTRACT.hand_over(Api.CHAT, Body.of({}), raw)
    assert caught.value.reason is reason


@pytest.mark.parametrize(
    ("api", "fields", "reason"),
    [
        (Api.CHAT, {}, None),
        (Api.CHAT, {"n": 1}, None),
        (Api.CHAT, {"n": 2}, Reason.SAMPLES),
        (Api.CHAT, {"use_beam_search": True}, Reason.SAMPLES),
        (Api.COMPLETIONS, {"prompt": "one"}, None),
        (Api.COMPLETIONS, {"prompt": [1, 2, 3]}, None),
        (Api.COMPLETIONS, {"prompt": ["one"]}, None),
        (Api.COMPLETIONS, {"prompt": [[1, 2, 3]]}, None),
        (Api.COMPLETIONS, {"prompt": ["one", "two"]}, Reason.SAMPLES),
        (Api.COMPLETIONS, {"prompt": [[1], [2]]}, Reason.SAMPLES),
        (Api.COMPLETIONS, {"best_of": 3}, Reason.SAMPLES),
        (Api.COMPLETIONS, {"prompt_logprobs": 0}, Reason.PROMPT_LOGPROBS),
        (Api.COMPLETIONS, {"prompt_logprobs": None}, None),
        (Api.COMPLETIONS, {"prompt_logprobs": None, "n": 2}, Reason.SAMPLES),
        (Api.COMPLETIONS, {"echo": True}, None),
        (Api.COMPLETIONS, {"echo": True, "logprobs": None}, None),
        (Api.COMPLETIONS, {"echo": True, "logprobs": 2}, Reason.PROMPT_LOGPROBS),
        (Api.VLLM_GENERATE, {"sampling_params": {"n": 2}}, Reason.SAMPLES),
        (Api.VLLM_GENERATE, {"sampling_params": {"prompt_logprobs": 1}}, Reason.PROMPT_LOGPROBS),
        (Api.VLLM_GENERATE, {"sampling_params": {}}, None),
        (Api.RESPONSES, {}, None),
        (Api.RESPONSES, {"background": True}, Reason.API),
        (Api.EMBEDDINGS, {}, Reason.API),
        (Api.MESSAGES, {}, Reason.API),
    ],
)
def test_what_cannot_be_split(api: Api, fields: dict[str, Any], reason: Reason | None) -> None:
    assert CONTRACT.refuses(api, Body.of(fields)) is reason


@pytest.mark.parametrize("fields", [{"n": "two"}, {"echo": 3}, {"max_tokens": "x"}, {"min_tokens": []}])
def test_a_field_of_a_wrong_type_is_the_clients_mistake(fields: dict[str, Any]) -> None:
    def split() -> None:
        CONTRACT.refuses(Api.COMPLETIONS, Body.of(fields))
        CONTRACT.prefill(Api.COMPLETIONS, Body.of(fields))

    with pytest.raises(ApiError) as caught:
        split()
    assert caught.value.status == 400
