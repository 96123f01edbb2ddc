"""Bodies in, answers out, as vLLM words them."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from epp.testing.engine import EngineConfig
from epp.testing.engine.openai import AnswerWriter, ApiError, Reader, usage
from epp.testing.engine.text import AnswerBook
from epp.testing.engine.tokenizer import ByteTokenizer

CONFIG = EngineConfig(model="m", loras=("ad",), max_model_len=100)
READER = Reader(CONFIG, ByteTokenizer())


def chat(**more: object) -> bytes:
    return msgspec.json.encode({"model": "m", "messages": [{"role": "user", "content": "hi"}], **more})


def test_a_chat_is_rendered_with_the_generation_prompt() -> None:
    asked = READER.chat(chat())
    assert bytes(token - 3 for token in asked.prompt) == b"<user>hi\n<assistant>"
    assert asked.max_tokens == 100 - len(asked.prompt)


@pytest.mark.parametrize("prompt", [[5, 6], [[5, 6]]])
def test_token_ids_are_taken_as_they_are(prompt: object) -> None:
    asked = READER.completion(msgspec.json.encode({"model": "ad", "prompt": prompt}))
    assert (asked.prompt.tolist(), asked.model, asked.max_tokens) == ([5, 6], "ad", 16)


@pytest.mark.parametrize("prompt", ["ab", ["ab"]])
def test_text_gets_the_special_token_unless_refused(prompt: object) -> None:
    body = {"model": "m", "prompt": prompt}
    assert READER.completion(msgspec.json.encode(body)).prompt.tolist() == [1, 100, 101]
    plain = READER.completion(msgspec.json.encode({**body, "add_special_tokens": False}))
    assert plain.prompt.tolist() == [100, 101]


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b"{", 400, "not a valid request"),
        (b'{"messages": 3}', 400, "not a valid request"),
        (chat(model="nope"), 404, "does not exist"),
        (chat(max_tokens=90), 400, "maximum context length is 100 tokens"),
        (chat(messages=[]), 400, "messages"),
        (chat(n=2), 400, "n=1"),
    ],
)
def test_refusals(body: bytes, status: int, words: str) -> None:
    with pytest.raises(ApiError, match=words) as caught:
        READER.chat(body)
    assert caught.value.status == status
    assert msgspec.json.decode(caught.value.body())["error"]["code"] == status


@pytest.mark.parametrize("prompt", [[], [-1], [1 << 32], ["a", "b"], ["a", 3], [1, "a"], 7])
def test_prompts_that_are_none(prompt: object) -> None:
    with pytest.raises(ApiError):
        READER.completion(msgspec.json.encode({"prompt": prompt}))


@given(
    st.binary(max_size=200)
    | st.recursive(st.none() | st.text() | st.integers(), st.lists).map(msgspec.json.encode)
)
def test_any_body_is_asked_or_refused(body: bytes) -> None:
    for read in (READER.chat, READER.completion, READER.tokenize):
        try:
            read(body)
        except ApiError:
            continue


def parsed(sse: bytes) -> list[Any]:
    return [
        event if event == b"[DONE]" else msgspec.json.decode(event)
        for line in sse.split(b"\n\n")
        if (event := line.removeprefix(b"data: "))
    ]


def test_a_chat_stream_is_role_deltas_finish_usage_done() -> None:
    writer = AnswerWriter(READER.chat(chat()), "id-1", 7)
    stream = writer.first() + writer.delta('a"\n') + writer.last("b", "length") + writer.end(usage(9, 2, 8))
    role, delta, last, total, done = parsed(stream)
    assert role["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert (delta["id"], delta["created"], delta["object"]) == ("id-1", 7, "chat.completion.chunk")
    assert delta["choices"][0]["delta"]["content"] == 'a"\n'
    assert delta["choices"][0]["finish_reason"] is None
    assert last["choices"][0]["finish_reason"] == "length"
    assert total["choices"] == []
    assert total["usage"]["prompt_tokens_details"] == {"cached_tokens": 8}
    assert done == b"[DONE]"


def test_a_completion_stream_has_text_and_no_role() -> None:
    writer = AnswerWriter(READER.completion(b'{"prompt": "x"}'), "id-1", 7)
    assert writer.first() == b""
    assert parsed(writer.delta("a"))[0]["choices"][0]["text"] == "a"


def test_answers_repeat_for_equal_seeds_and_prompts_only() -> None:
    def answers(seed: int, prompt: str) -> list[int]:
        tokenizer = ByteTokenizer()
        book = AnswerBook(lambda text: tokenizer.encode(text, special=False), seed)
        return book.answer(tokenizer.encode(prompt, special=False), 40).tokens.tolist()

    assert answers(1, "a") == answers(1, "a")
    assert answers(1, "a") != answers(2, "a")
    assert answers(1, "a") != answers(1, "b")


TOKENIZER = ByteTokenizer()
BOOK = AnswerBook(lambda text: TOKENIZER.encode(text, special=False), 0)


@given(st.integers(1, 400), st.booleans(), st.integers(0, 50))
def test_answers_keep_their_bounds(max_tokens: int, ignore_eos: bool, least: int) -> None:
    prompt = TOKENIZER.encode("p", special=False)
    answer = BOOK.answer(prompt, max_tokens, ignore_eos=ignore_eos, least=least)
    assert min(least, max_tokens) <= len(answer.tokens) <= max_tokens
    assert (len(answer.tokens) == max_tokens) or answer.finish_reason == "stop"
    if ignore_eos:
        assert (len(answer.tokens), answer.finish_reason) == (max_tokens, "length")
