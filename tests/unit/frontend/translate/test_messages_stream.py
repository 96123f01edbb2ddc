from typing import Any

import pytest

from frontend.sse import SseEvent
from frontend.translate.messages_answer import MessageHead, MessagesWriter, whole_message
from frontend.translate.stream import ChatStream
from tests.unit.frontend.translate import said

HEAD = MessageHead("r1", "claude")


def translated(*chunks: dict[str, Any], ending: bool = True) -> list[dict[str, Any]]:
    stream = ChatStream(MessagesWriter(HEAD))
    fed = said.events(said.sse(*chunks))
    out = b"".join(stream.feed(event) for event in (fed if ending else fed[:-1]))
    return said.read(out + stream.finish())


def types(events: list[dict[str, Any]]) -> list[str]:
    return [event["type"] for event in events]


def blocks(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What a client puts together, which holds the order of events to be right."""
    content: list[dict[str, Any]] = []
    open_: set[int] = set()
    for event in events:
        kind = event["type"]
        if kind == "content_block_start":
            assert event["index"] == len(content)
            open_.add(event["index"])
            content.append(event["content_block"] | {"json": ""})
        elif kind == "content_block_delta":
            assert event["index"] in open_
            block, delta = content[event["index"]], event["delta"]
            if delta["type"] == "input_json_delta":
                block["json"] += delta["partial_json"]
            else:
                block[delta["type"].removesuffix("_delta")] += delta[delta["type"].removesuffix("_delta")]
        elif kind == "content_block_stop":
            open_.remove(event["index"])
        elif kind == "message_delta":
            assert not open_
    return content


def test_reasoning_text_and_two_calls() -> None:
    events = translated(*said.TWO_CALLS)
    assert types(events)[:3] == ["message_start", "ping", "content_block_start"]
    assert types(events)[-2:] == ["message_delta", "message_stop"]
    thinking, text, first, second = blocks(events)
    assert thinking["thinking"] == "Let me see."
    assert text["text"] == "I look it up."
    assert (first["type"], first["id"], first["name"], first["input"]) == (
        "tool_use",
        "call_a",
        "weather",
        {},
    )
    assert first["json"] == '{"city": "Oslo"}'
    assert (second["id"], second["json"]) == ("call_b", '{"city": "Rome"}')
    assert events[-2]["delta"] == {"stop_reason": "tool_use", "stop_sequence": None}


def test_a_block_ends_before_the_next_begins() -> None:
    order = [
        e["type"] for e in translated(*said.TWO_CALLS) if "block" in e["type"] and "delta" not in e["type"]
    ]
    assert order == ["content_block_start", "content_block_stop"] * 4


def test_the_message_at_the_start_is_empty_and_named_by_the_client() -> None:
    message = translated(said.ROLE, said.end())[0]["message"]
    assert message["content"] == []
    assert (message["id"], message["model"], message["role"]) == ("msg_r1", "claude", "assistant")
    assert message["stop_reason"] is None


def test_usage_comes_after_the_end_and_tells_cached_tokens_apart() -> None:
    events = translated(said.text("x"), said.end(), said.usage())
    assert events[-2]["usage"] == {
        "input_tokens": 4,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 16,
        "output_tokens": 7,
    }


@pytest.mark.parametrize(
    ("end", "expected"),
    [
        (said.end("stop"), ("end_turn", None)),
        (said.end("length"), ("max_tokens", None)),
        (said.end("stop", stop_reason="END"), ("stop_sequence", "END")),
        (said.end("stop", matched_stop="END"), ("stop_sequence", "END")),
        (said.end("stop", stop_reason=128001), ("end_turn", None)),
        (said.end("content_filter"), ("refusal", None)),
        (said.end("tool_calls"), ("tool_use", None)),
    ],
)
def test_stop_reasons(end: dict[str, Any], expected: tuple[str, str | None]) -> None:
    told = translated(said.text("x"), end)[-2]["delta"]
    assert (told["stop_reason"], told["stop_sequence"]) == expected


def test_a_forced_call_that_engines_end_with_stop_is_tool_use() -> None:
    events = translated(said.call(0, call_id="c", name="f", arguments="{}"), said.end("stop"))
    assert events[-2]["delta"]["stop_reason"] == "tool_use"


def test_interleaved_calls_keep_their_arguments() -> None:
    events = translated(
        said.call(0, call_id="a", name="f"),
        said.call(1, call_id="b", name="g"),
        said.call(0, arguments='{"x":'),
        said.call(1, arguments='{"y":2}'),
        said.call(0, arguments="1}"),
        said.end("tool_calls"),
    )
    assert [block["json"] for block in blocks(events)] == ['{"x":1}', '{"y":2}']


def test_an_empty_answer_has_no_blocks() -> None:
    assert types(translated(said.ROLE, said.end())) == [
        "message_start",
        "ping",
        "message_delta",
        "message_stop",
    ]


def test_an_error_in_the_stream_ends_it() -> None:
    broken = {"error": {"message": "out of memory", "type": "InternalServerError", "code": 500}}
    events = translated(said.text("x"), broken, said.text("never"))
    assert events[-1] == {"type": "error", "error": {"type": "api_error", "message": "out of memory"}}
    assert "never" not in str(events)


@pytest.mark.parametrize("chunks", [(), (said.text("x"),)])
def test_a_stream_that_breaks_off_ends_with_an_error(chunks: tuple[dict[str, Any], ...]) -> None:
    events = translated(*chunks, ending=False)
    assert types(events)[0] == "message_start"
    assert types(events)[-1] == "error"


def test_nothing_follows_the_end() -> None:
    stream = ChatStream(MessagesWriter(HEAD))
    for event in said.events(said.sse(said.text("x"), said.end())):
        stream.feed(event)
    assert stream.feed(SseEvent("", b"{}")) == b""
    assert stream.finish() == b""
    assert stream.fail(500, "late") == b""


def test_an_answer_beyond_the_bound_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("frontend.translate.stream.MAX_ANSWER_CHARS", 10)
    events = translated(said.text("x" * 6), said.text("y" * 6), said.end())
    assert events[-1]["type"] == "error"
    assert "yyy" not in str(events)


def test_named_events_of_ours_are_left_out() -> None:
    stream = ChatStream(MessagesWriter(HEAD))
    assert stream.feed(SseEvent("worker_instance_id", b'["1"]')) == b""


def whole(message: dict[str, Any], reason: str = "stop", **choice: Any) -> dict[str, Any]:
    import msgspec

    decoded: dict[str, Any] = msgspec.json.decode(
        whole_message(HEAD, said.completion(message, reason, **choice))
    )
    return decoded


def test_a_whole_answer_holds_the_same_blocks() -> None:
    calls = [{"id": "call_a", "type": "function", "function": {"name": "f", "arguments": '{"x": 1.0}'}}]
    message = {"role": "assistant", "content": "Hi", "reasoning_content": "Hm", "tool_calls": calls}
    answer = whole(message, "tool_calls")
    assert answer["content"] == [
        {"type": "thinking", "thinking": "Hm", "signature": ""},
        {"type": "text", "text": "Hi"},
        {"type": "tool_use", "id": "call_a", "name": "f", "input": {"x": 1.0}},
    ]
    assert answer["stop_reason"] == "tool_use"
    assert answer["usage"]["cache_read_input_tokens"] == 16


def test_arguments_that_are_no_object_become_an_empty_one() -> None:
    calls = [{"id": "c", "function": {"name": "f", "arguments": '{"cut": "of'}}]
    assert whole({"content": None, "tool_calls": calls}, "length")["content"][0]["input"] == {}


def test_a_whole_answer_keeps_nvext() -> None:
    from frontend.translate.chat import read_chunk

    chunk = read_chunk(b'{"choices":[{"message":{"content":"x"}}],"nvext":{"worker_id":3}}')
    assert b'"nvext":{"worker_id":3}' in whole_message(HEAD, chunk)


def test_no_choice_is_no_message() -> None:
    from frontend.translate.chat import read_chunk

    with pytest.raises(ValueError, match="no message"):
        whole_message(HEAD, read_chunk(b'{"choices":[]}'))
