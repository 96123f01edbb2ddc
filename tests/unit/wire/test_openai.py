"""Paths, prompts and refusals of every API, one row each."""

import array
import json
from typing import Any

import pytest

from epp.core.errors import BadRequestError
from epp.core.requests import Api, ChatPrompt, TextPrompt, TokenPrompt
from epp.wire.openai import RequestLimits, api_of, parse_request

USER = [{"role": "user", "content": "hi"}]
CHAT = "/v1/chat/completions"


def u32(*ids: int) -> bytes:
    return array.array("I", ids).tobytes()


def body(**fields: Any) -> bytes:
    return json.dumps(fields).encode()


def refusal(path: str, sent: bytes, limits: RequestLimits | None = None) -> str:
    with pytest.raises(BadRequestError) as caught:
        parse_request(path, sent, limits or RequestLimits())
    assert caught.value.status == 400
    assert caught.value.message == str(caught.value)
    return caught.value.message


@pytest.mark.parametrize(
    ("path", "api"),
    [
        ("/v1/chat/completions", Api.CHAT),
        ("/foo/v1/chat/completions", Api.CHAT),
        ("/v1/chat/completions?beta=true", Api.CHAT),
        ("/openai/deployments/x/chat/completions?api-version=1", Api.CHAT),
        ("/v1/completions", Api.COMPLETIONS),
        ("/v1/embeddings", Api.EMBEDDINGS),
        ("/v1/responses", Api.RESPONSES),
        ("/v1/messages", Api.MESSAGES),
        ("/v1/messages/count_tokens", Api.COUNT_TOKENS),
        ("/tokenize", Api.TOKENIZE),
        ("/inference/v1/generate", Api.VLLM_GENERATE),
        ("/generate", Api.SGLANG_GENERATE),
        ("/v1/threads/t/messages", Api.OTHER),
        ("/v1/responses/r_1", Api.OTHER),
        ("/v1/chat/completions/render", Api.OTHER),
        ("/xcompletions", Api.OTHER),
        ("/v1/models", Api.OTHER),
        ("/v1/models?path=/v1/completions", Api.OTHER),
        ("", Api.OTHER),
    ],
)
def test_the_longest_suffix_names_the_api(path: str, api: Api) -> None:
    assert api_of(path) is api


@pytest.mark.parametrize("sent", [None, b""])
def test_a_request_without_body_is_not_parsed(sent: bytes | None) -> None:
    request = parse_request(CHAT, sent)
    assert (request.api, request.model, request.prompt, request.body_bytes) == (Api.OTHER, "", None, 0)


def test_an_unknown_path_is_not_parsed_whatever_its_body() -> None:
    request = parse_request("/v1/audio/speech", b"\xff not json")
    assert (request.api, request.prompt, request.body_bytes) == (Api.OTHER, None, 10)


@pytest.mark.parametrize(
    ("sent", "api"),
    [
        (body(model="m", messages=USER), Api.CHAT),
        (body(model="m", prompt="hi"), Api.COMPLETIONS),
        (body(model="m", input="hi"), Api.OTHER),
        (body(model="m", messages=7), Api.OTHER),
        (b"[1]", Api.OTHER),
        (b"--boundary\r\n", Api.OTHER),
        (b"", Api.OTHER),
    ],
)
def test_a_path_that_is_not_told_is_guessed_and_never_refused(sent: bytes, api: Api) -> None:
    request = parse_request("", sent)
    assert request.api is api
    assert request.body_bytes == len(sent)
    if api is not Api.OTHER:
        path = "/v1/completions" if api is Api.COMPLETIONS else CHAT
        assert request == parse_request(path, sent)


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("a", TextPrompt(("a",))),
        (["a", "b"], TextPrompt(("a", "b"))),
        ([1, 2, 4294967295], TokenPrompt(u32(1, 2, 4294967295))),
        ([[1, 2], [3]], TokenPrompt(u32(1, 2))),
    ],
)
def test_four_forms_of_a_prompt_in_completions_and_embeddings(prompt: Any, expected: object) -> None:
    assert parse_request("/v1/completions", body(model="m", prompt=prompt)).prompt == expected
    assert parse_request("/v1/embeddings", body(model="m", input=prompt)).prompt == expected


@pytest.mark.parametrize(
    ("path", "fields", "expected"),
    [
        ("/v1/completions", {"prompt": "a", "add_special_tokens": False}, TextPrompt(("a",), False)),
        ("/v1/completions", {"prompt": "a", "suffix": "b"}, None),
        ("/v1/completions", {"prompt": "a", "prompt_embeds": "AAAA"}, None),
        ("/v1/completions", {"prompt": "a", "prompt_embeds": None}, TextPrompt(("a",))),
        ("/tokenize", {"prompt": ""}, TextPrompt(("",))),
        ("/inference/v1/generate", {"token_ids": [5, 6]}, TokenPrompt(u32(5, 6))),
        ("/inference/v1/generate", {"token_ids": [5], "features": {"mm_hashes": {}}}, None),
        ("/inference/v1/generate", {"token_ids": [5], "content_parts": [{"type": "image"}]}, None),
        ("/generate", {"text": "a"}, TextPrompt(("a",))),
        ("/generate", {"text": ["a", "b"]}, TextPrompt(("a", "b"))),
        ("/generate", {"input_ids": [1, 2]}, TokenPrompt(u32(1, 2))),
        ("/generate", {"input_ids": [[1], [2]]}, TokenPrompt(u32(1))),
        ("/generate", {"input_embeds": [[0.5]]}, None),
        (CHAT, {"messages": USER, "chat_template": "{{ messages }}"}, None),
        (CHAT, {"messages": USER, "chat_template_kwargs": {"chat_template": "x"}}, None),
        ("/v1/responses", {"input": "a", "previous_response_id": "r"}, None),
        (
            "/v1/messages",
            {"messages": [{"role": "system", "content": [{"type": "tool_removal", "tool": {}}]}]},
            None,
        ),
    ],
)
def test_prompts_that_are_text_tokens_or_nothing_to_match(
    path: str, fields: dict[str, Any], expected: object
) -> None:
    assert parse_request(path, body(model="m", **fields)).prompt == expected


@pytest.mark.parametrize(
    ("path", "fields", "limit"),
    [
        (CHAT, {"messages": USER, "max_tokens": 5}, 5),
        (CHAT, {"messages": USER, "max_tokens": 5, "max_completion_tokens": 7}, 7),
        ("/v1/completions", {"prompt": "a", "max_tokens": 5}, 5),
        ("/v1/responses", {"input": "a", "max_output_tokens": 5}, 5),
        ("/v1/messages", {"messages": USER, "max_tokens": 5}, 5),
        ("/v1/messages/count_tokens", {"messages": USER}, None),
        ("/v1/embeddings", {"input": "a"}, None),
        ("/inference/v1/generate", {"token_ids": [1], "sampling_params": {"max_tokens": 5}}, 5),
        ("/generate", {"text": "a", "sampling_params": {"max_new_tokens": 5}}, 5),
        ("/generate", {"text": ["a"], "sampling_params": [{"max_new_tokens": 5}, {}]}, 5),
        ("/generate", {"text": ["a"], "sampling_params": []}, None),
        ("/v1/completions", {"prompt": "a", "max_tokens": 100.0}, 100),
        ("/v1/completions", {"prompt": "a", "max_tokens": 1e300}, 2**32 - 1),
        ("/v1/completions", {"prompt": "a", "max_tokens": 0.5}, None),
        ("/v1/completions", {"prompt": "a", "max_tokens": 0}, None),
        ("/v1/completions", {"prompt": "a", "max_tokens": -1}, None),
    ],
)
def test_the_output_bound_has_a_name_in_each_api(path: str, fields: dict[str, Any], limit: int) -> None:
    assert parse_request(path, body(model="m", **fields)).max_output_tokens == limit


def test_common_fields_are_read_and_the_rest_skipped() -> None:
    sent = body(
        model="lora-1", messages=USER, stream=True, priority=-3, cache_salt="s", logit_bias={"1": 2}, n=None
    )
    request = parse_request(CHAT, sent)
    assert (request.api, request.model, request.stream) == (Api.CHAT, "lora-1", True)
    assert (request.priority, request.cache_salt, request.body_bytes) == (-3, "s", len(sent))


@pytest.mark.parametrize(
    ("path", "fields", "generation", "special"),
    [
        (CHAT, {}, True, False),
        (CHAT, {"add_generation_prompt": False, "add_special_tokens": True}, False, True),
        ("/v1/embeddings", {}, False, False),
        ("/v1/embeddings", {"add_generation_prompt": True}, True, False),
        ("/tokenize", {}, True, False),
    ],
)
def test_conversations_end_as_their_api_ends_them(
    path: str, fields: dict[str, Any], generation: bool, special: bool
) -> None:
    prompt = parse_request(path, body(model="m", messages=USER, **fields)).prompt
    assert isinstance(prompt, ChatPrompt)
    assert (prompt.add_generation_prompt, prompt.add_special_tokens) == (generation, special)


def test_messages_to_embed_may_stand_in_input() -> None:
    prompt = parse_request("/v1/embeddings", body(model="m", input=USER)).prompt
    assert isinstance(prompt, ChatPrompt)
    assert prompt.messages == USER
    assert not prompt.add_generation_prompt


@pytest.mark.parametrize("sent", [[USER], [{"text": "a", "image": "b"}], [*USER, {"text": "a"}]])
def test_other_objects_to_embed_are_not_matched(sent: list[Any]) -> None:
    assert parse_request("/v1/embeddings", body(model="m", input=sent)).prompt is None


def test_objects_among_token_ids_are_a_mixture() -> None:
    expected = "Field `input` must hold texts, token ids, or lists of token ids, not a mixture."
    for sent in ([1, {"a": 1}], [[1, {"a": 1}]], ["a", {"a": 1}], [[], {"a": 1}]):
        assert refusal("/v1/embeddings", body(model="m", input=sent)) == expected


def test_only_the_messages_api_joins_system_messages() -> None:
    joins = {
        path: parse_request(path, body(model="m", messages=USER)).prompt.joins_system  # type: ignore[union-attr]
        for path in (CHAT, "/v1/messages", "/v1/messages/count_tokens")
    }
    assert joins == {CHAT: False, "/v1/messages": True, "/v1/messages/count_tokens": True}


def test_markers_keep_their_place_and_none_of_their_bytes() -> None:
    parts = [
        {"type": "text", "text": "a"},
        {"type": "video_url", "video_url": {"url": "x"}},
        {"type": "file", "file": {"file_id": "f"}},
        {"image_url": {"url": "untyped"}},
        {"type": "text", "text": None},
    ]
    prompt = parse_request(CHAT, body(model="m", messages=[{"role": "user", "content": parts}])).prompt
    assert isinstance(prompt, ChatPrompt)
    assert prompt.multimodal
    assert prompt.messages[0]["content"] == [
        {"type": "text", "text": "a"},
        {"type": "video_url"},
        {"type": "file"},
        {"type": "unknown"},
    ]


def test_an_unknown_response_item_is_a_marker() -> None:
    prompt = parse_request(
        "/v1/responses", body(model="m", input=[*USER, {"type": "web_search_call", "id": "w"}])
    ).prompt
    assert isinstance(prompt, ChatPrompt)
    assert prompt.multimodal
    assert prompt.messages[1]["content"] == [{"type": "web_search_call"}]


def test_template_variables_with_a_place_of_their_own_are_not_free_ones() -> None:
    reserved = {"messages": [], "tools": [], "documents": [], "tokenize": True, "free": 1}
    prompt = parse_request(CHAT, body(model="m", messages=USER, chat_template_kwargs=reserved)).prompt
    assert isinstance(prompt, ChatPrompt)
    assert prompt.template_kwargs == {"free": 1}
    assert prompt.tools is None
    assert prompt.documents is None


def test_deeply_nested_arguments_become_an_empty_object() -> None:
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "[" * 100_000}}
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    prompt = parse_request(CHAT, body(model="m", messages=[message])).prompt
    assert isinstance(prompt, ChatPrompt)
    assert prompt.messages[0]["tool_calls"][0]["function"]["arguments"] == {}


@pytest.mark.parametrize(
    ("path", "sent", "message"),
    [
        (CHAT, b"{", "The body is not valid JSON: input data was truncated."),
        (
            CHAT,
            b'{"model": x}',
            "The body is not valid JSON: JSON is malformed: invalid character (byte 10).",
        ),
        (CHAT, b'{"model":"\xff"}', "The body is not valid UTF-8."),
        (CHAT, b"[]", "The body: expected `object`, got `array`."),
        (CHAT, b'{"model":"m"}', "The body: object missing required field `messages`."),
        (CHAT, b'{"messages":[{"role":"user"}]}', "Field `model` is missing or empty."),
        (CHAT, b'{"model":"","messages":[{"role":"user"}]}', "Field `model` is missing or empty."),
        (CHAT, b'{"model":1,"messages":[]}', "Field `model`: expected `str | null`, got `int`."),
        (CHAT, b'{"model":"m","messages":[]}', "Field `messages` must hold at least one message."),
        (
            CHAT,
            b'{"model":"m","messages":[{"role":"user","content":[{"type":"text","text":5}]}]}',
            "Field `messages[0].content[0].text`: expected `str | null`, got `int`.",
        ),
        (
            CHAT,
            b'{"model":"m","messages":[{"role":"assistant","tool_calls":[{"id":"1"}]}]}',
            "An entry of `tool_calls` needs a `function` with a `name`.",
        ),
        (
            CHAT,
            b'{"model":"m","messages":[{"role":"user"}],"max_tokens":"5"}',
            "Field `max_tokens`: expected `int | float | null`, got `str`.",
        ),
        (
            "/v1/completions",
            b'{"model":"m","prompt":"a","priority":9223372036854775808}',
            "Field `priority`: expected `int` <= 9223372036854775807.",
        ),
        ("/v1/completions", b'{"model":"m"}', "Field `prompt` is missing or empty."),
        ("/v1/completions", b'{"model":"m","prompt":[]}', "Field `prompt` is missing or empty."),
        (
            "/v1/completions",
            b'{"model":"m","prompt":[-1]}',
            "Field `prompt[0]`: expected `int` >= 0.",
        ),
        (
            "/v1/completions",
            b'{"model":"m","prompt":[1,4294967296]}',
            "Field `prompt[1]`: expected `int` <= 4294967295.",
        ),
        (
            "/v1/embeddings",
            b'{"model":"m","input":[{"role":5}]}',
            "Field `input[0].role`: expected `str`, got `int`.",
        ),
        ("/v1/embeddings", b'{"model":"m","input":""}', "Field `input` is missing or empty."),
        ("/v1/responses", b'{"model":"m","input":[]}', "Field `input` must hold at least one item."),
        ("/v1/messages", b'{"model":"m","messages":[]}', "Field `messages` must hold at least one message."),
        ("/tokenize", b"{}", "Field `prompt` or `messages` is missing."),
        (
            "/inference/v1/generate",
            b'{"token_ids":[]}',
            "Field `token_ids`: expected `array` of length >= 1.",
        ),
    ],
)
def test_a_refusal_is_one_sentence_that_names_the_place(path: str, sent: bytes, message: str) -> None:
    assert refusal(path, sent) == message


@pytest.mark.parametrize("mixture", [["a", 1], [1, "a"], [[1], 2], [[1], "a"], [1, [2]], ["a", [1]]])
def test_a_mixed_prompt_is_refused(mixture: list[Any]) -> None:
    expected = "Field `prompt` must hold texts, token ids, or lists of token ids, not a mixture."
    assert refusal("/v1/completions", body(model="m", prompt=mixture)) == expected


@pytest.mark.parametrize("opening", ["[", '{"a":', '[{"b":[', '{"nvext":'])
def test_nesting_without_end_is_a_refusal(opening: str) -> None:
    sent = b'{"model":"m","messages":' + (opening * 50_000).encode()
    assert refusal(CHAT, sent).endswith(".")


def test_a_skipped_field_cannot_be_nested_without_end_either() -> None:
    sent = b'{"model":"m","skipped":' + b"[" * 50_000 + b"]" * 50_000 + b"}"
    assert refusal(CHAT, sent) == "The body is nested too deeply."


@pytest.mark.parametrize(
    ("path", "fields", "field"),
    [
        (CHAT, {"messages": USER * 4}, "messages"),
        (CHAT, {"messages": USER, "tools": [{"function": {"name": "f"}}] * 4}, "tools"),
        ("/v1/messages", {"messages": USER * 4}, "messages"),
        ("/v1/messages", {"messages": USER, "tools": [{"name": "f"}] * 4}, "tools"),
        ("/v1/responses", {"input": USER * 4}, "input"),
        ("/v1/responses", {"input": "a", "tools": [{"type": "function"}] * 4}, "tools"),
        ("/v1/completions", {"prompt": ["a"] * 4}, "prompt"),
        ("/v1/completions", {"prompt": [[1]] * 4}, "prompt"),
    ],
)
def test_lists_have_a_bound(path: str, fields: dict[str, Any], field: str) -> None:
    sent = body(model="m", **fields)
    expected = f"Field `{field}` holds 4 entries, more than the 3 allowed."
    assert refusal(path, sent, RequestLimits(3, 3, 3)) == expected
    parse_request(path, sent, RequestLimits(4, 4, 4))


def test_a_long_list_of_token_ids_is_no_batch() -> None:
    prompt = parse_request(
        "/v1/completions", body(model="m", prompt=[1] * 10), RequestLimits(max_prompts=3)
    ).prompt
    assert prompt == TokenPrompt(u32(*[1] * 10))
