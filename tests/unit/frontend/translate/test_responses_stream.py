from typing import Any

import msgspec
import pytest

from frontend.translate.chat import read_chunk
from frontend.translate.responses_answer import ResponseHead, ResponsesWriter, whole_response
from frontend.translate.responses_tools import ToolNames
from frontend.translate.stream import ChatStream
from tests.unit.frontend.translate import said

HEAD = ResponseHead("r1", "m", 1700000000, {"metadata": {"k": "v"}})


def translated(*chunks: dict[str, Any], ending: bool = True) -> list[dict[str, Any]]:
    stream = ChatStream(ResponsesWriter(HEAD))
    fed = said.events(said.sse(*chunks))
    out = b"".join(stream.feed(event) for event in (fed if ending else fed[:-1]))
    events = said.read(out + stream.finish())
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    return events


def types(events: list[dict[str, Any]]) -> list[str]:
    return [event["type"].removeprefix("response.") for event in events]


def test_the_events_of_a_text() -> None:
    events = translated(said.ROLE, said.text("Hel"), said.text("lo"), said.end(), said.usage())
    assert types(events) == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]
    assert events[6]["text"] == "Hello"
    final = events[-1]["response"]
    assert final["status"] == "completed"
    assert final["output"] == [events[8]["item"]]
    assert final["output"][0]["content"][0]["text"] == "Hello"
    assert final["usage"] == {
        "input_tokens": 20,
        "input_tokens_details": {"cached_tokens": 16, "cache_write_tokens": 0},
        "output_tokens": 7,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 27,
    }
    assert final["metadata"] == {"k": "v"}


def test_reasoning_text_and_two_calls_are_items_in_order() -> None:
    output = translated(*said.TWO_CALLS)[-1]["response"]["output"]
    assert [item["type"] for item in output] == ["reasoning", "message", "function_call", "function_call"]
    assert output[0]["content"] == [{"type": "reasoning_text", "text": "Let me see."}]
    assert [(i["call_id"], i["arguments"]) for i in output[2:]] == [
        ("call_a", '{"city": "Oslo"}'),
        ("call_b", '{"city": "Rome"}'),
    ]
    assert len({item["id"] for item in output}) == 4
    assert {item["status"] for item in output} == {"completed"}


def test_each_item_ends_before_the_next_begins() -> None:
    order = [e["type"] for e in translated(*said.TWO_CALLS) if "output_item" in e["type"]]
    assert order == ["response.output_item.added", "response.output_item.done"] * 4


def test_deltas_add_up_to_what_done_says() -> None:
    events = translated(*said.TWO_CALLS)
    for done in [e for e in events if e["type"] == "response.function_call_arguments.done"]:
        pieces = [
            e["delta"]
            for e in events
            if e["type"] == "response.function_call_arguments.delta" and e["item_id"] == done["item_id"]
        ]
        assert "".join(pieces) == done["arguments"]


def test_a_call_without_arguments_has_an_empty_object() -> None:
    events = translated(said.call(0, call_id="c", name="now"), said.end("tool_calls"))
    deltas = [e["delta"] for e in events if e["type"].endswith("arguments.delta")]
    assert deltas == ["{}"]
    assert events[-1]["response"]["output"][0]["arguments"] == "{}"


def test_interleaved_calls_keep_their_arguments() -> None:
    events = translated(
        said.call(0, call_id="a", name="f", arguments='{"x":'),
        said.call(1, call_id="b", name="g", arguments='{"y":2}'),
        said.call(0, arguments="1}"),
        said.end("tool_calls"),
    )
    assert [i["arguments"] for i in events[-1]["response"]["output"]] == ['{"x":1}', '{"y":2}']


def test_an_answer_cut_by_its_limit_is_incomplete() -> None:
    events = translated(said.text("Hel"), said.end("length"))
    final = events[-1]["response"]
    assert events[-1]["type"] == "response.incomplete"
    assert (final["status"], final["incomplete_details"]) == ("incomplete", {"reason": "max_output_tokens"})
    assert final["output"][0]["status"] == "incomplete"


def test_an_error_in_the_stream_fails_the_response() -> None:
    events = translated(said.text("x"), {"error": {"message": "out of memory", "code": 500}})
    assert events[-1]["type"] == "response.failed"
    final = events[-1]["response"]
    assert final["status"] == "failed"
    assert final["error"] == {"code": "server_error", "message": "out of memory"}


@pytest.mark.parametrize("chunks", [(), (said.text("x"),)])
def test_a_stream_that_breaks_off_fails_the_response(chunks: tuple[dict[str, Any], ...]) -> None:
    events = translated(*chunks, ending=False)
    assert types(events)[0] == "created"
    assert types(events)[-1] == "failed"


def test_a_whole_answer_is_the_object_a_stream_ends_with() -> None:
    calls = [
        {
            "id": "call_a",
            "type": "function",
            "function": {"name": "weather", "arguments": '{"city": "Oslo"}'},
        },
        {
            "id": "call_b",
            "type": "function",
            "function": {"name": "weather", "arguments": '{"city": "Rome"}'},
        },
    ]
    message = {"content": "I look it up.", "reasoning": "Let me see.", "tool_calls": calls}
    whole = msgspec.json.decode(whole_response(HEAD, said.completion(message, "tool_calls")))
    assert whole == translated(*said.TWO_CALLS)[-1]["response"]


def test_custom_tools_are_called_with_their_text() -> None:
    head = ResponseHead("r1", "m", 0, names=ToolNames(custom={"patch"}, namespaces={"ns__f": ("ns", "f")}))
    stream = ChatStream(ResponsesWriter(head))
    chunks = (
        said.call(0, call_id="a", name="patch", arguments='{"input": "+ '),
        said.call(0, arguments='x"}'),
        said.call(1, call_id="b", name="ns__f", arguments="{}"),
        said.end("tool_calls"),
    )
    events = said.read(b"".join(stream.feed(event) for event in said.events(said.sse(*chunks))))
    told = [
        (e["type"].rpartition(".")[2], e.get("delta", e.get("input")))
        for e in events
        if "_input." in e["type"]
    ]
    assert told == [("delta", "+ x"), ("done", "+ x")]
    custom, function = events[-1]["response"]["output"]
    assert (custom["type"], custom["name"], custom["input"]) == ("custom_tool_call", "patch", "+ x")
    assert (function["type"], function["namespace"], function["name"]) == ("function_call", "ns", "f")


def test_no_choice_is_no_response() -> None:
    with pytest.raises(ValueError, match="no message"):
        whole_response(HEAD, read_chunk(b'{"choices":[]}'))
