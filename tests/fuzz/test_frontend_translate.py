"""Invariants: a request becomes a chat body or an ApiError; whatever an engine sends becomes a well-formed
stream with one end, however its bytes are cut; a whole answer is an answer or a ValueError."""

from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from frontend.body import Body
from frontend.errors import ApiError
from frontend.sse import SseReader, event
from frontend.translate import messages_request, responses_request
from frontend.translate.chat import read_chunk
from frontend.translate.messages_answer import MessageHead, MessagesWriter, whole_message
from frontend.translate.responses_answer import ResponseHead, ResponsesWriter, whole_response
from frontend.translate.responses_tools import ToolNames
from frontend.translate.stream import ChatStream, Writer

MESSAGES = MessageHead("r1", "m")
RESPONSES = ResponseHead("r1", "m", 0, names=ToolNames(custom={"a"}, namespaces={"b": ("n", "b")}))
TEXT = st.none() | st.text(st.characters(codec="utf-8"), max_size=4)
VALUE = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 600) | TEXT,
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(
                ["type", "role", "content", "text", "name", "input", "source", "tools", "id", "schema"]
            ),
            inner,
            max_size=3,
        )
    ),
    max_leaves=8,
)
CALL = st.fixed_dictionaries(
    {},
    optional={
        "index": st.none() | st.integers(-1, 3),
        "id": TEXT,
        "function": st.fixed_dictionaries(
            {},
            optional={
                "name": TEXT | st.sampled_from(["a", "b"]),
                "arguments": TEXT | st.sampled_from(["{", "}", '{"a":1}']),
            },
        ),
    },
)
DELTA = st.fixed_dictionaries(
    {},
    optional={
        "content": TEXT,
        "reasoning": TEXT,
        "reasoning_content": TEXT,
        "tool_calls": st.none() | st.lists(CALL, max_size=3),
    },
)
CHOICE = st.fixed_dictionaries(
    {},
    optional={
        "index": st.integers(0, 1),
        "delta": DELTA,
        "message": DELTA,
        "finish_reason": st.sampled_from([None, "stop", "length", "tool_calls", "odd"]),
        "stop_reason": st.none() | st.integers() | TEXT,
    },
)
CHUNK = st.one_of(
    st.fixed_dictionaries(
        {"choices": st.lists(CHOICE, max_size=2)}, optional={"usage": VALUE, "nvext": VALUE}
    ),
    st.fixed_dictionaries({"error": VALUE}),
    VALUE,
)
PIECES = st.lists(
    st.one_of(
        CHUNK.map(lambda value: event(msgspec.json.encode(value))),
        st.sampled_from(
            [b"data: [DONE]\n\n", b"event: error\ndata: {}\n\n", b"event: note\ndata: 1\n\n", b"\n"]
        ),
        st.binary(max_size=6),
    ),
    max_size=10,
)
LAST = {"message_stop", "error", "response.completed", "response.incomplete", "response.failed"}


def _run(writer: Writer, cuts: list[bytes]) -> bytes:
    stream, reader = ChatStream(writer), SseReader()
    out = [stream.feed(found) for cut in cuts for found in reader.feed(cut)]
    return b"".join([*out, stream.finish()])


@pytest.mark.parametrize("make", [lambda: MessagesWriter(MESSAGES), lambda: ResponsesWriter(RESPONSES)])
@given(pieces=PIECES)
def test_streams_end_well_formed(make: Any, pieces: list[bytes]) -> None:
    whole = b"".join(pieces)
    out = _run(make(), [whole])
    assert out == _run(make(), [bytes([byte]) for byte in whole])
    events = [msgspec.json.decode(found.data) for found in SseReader().feed(out)]
    kinds = [found["type"] for found in events]
    assert kinds[0] in {"message_start", "response.created"}
    assert [kind for kind in kinds if kind in LAST] == kinds[-1:]
    _check_blocks(events)
    _check_items(events)


def _check_blocks(events: list[dict[str, Any]]) -> None:
    open_: set[int] = set()
    for found in events:
        kind = found["type"]
        if kind == "content_block_start":
            open_.add(found["index"])
        elif kind == "content_block_delta":
            assert found["index"] in open_
        elif kind == "content_block_stop":
            open_.remove(found["index"])
    assert not open_ or events[-1]["type"] == "error"


def _check_items(events: list[dict[str, Any]]) -> None:
    assert [found.get("sequence_number", n) for n, found in enumerate(events)] == list(range(len(events)))
    added = [found["output_index"] for found in events if found["type"] == "response.output_item.added"]
    done = [found["output_index"] for found in events if found["type"] == "response.output_item.done"]
    assert added == list(range(len(added)))
    if events[-1]["type"] in {"response.completed", "response.incomplete"}:
        assert sorted(done) == added
        assert len(events[-1]["response"]["output"]) == len(added)


@given(CHUNK.map(msgspec.json.encode) | st.binary(max_size=30))
def test_whole_answers_are_answers_or_value_errors(data: bytes) -> None:
    for whole in (lambda c: whole_message(MESSAGES, c), lambda c: whole_response(RESPONSES, c)):
        with suppress(ValueError):
            assert isinstance(msgspec.json.decode(whole(read_chunk(data))), dict)


REQUEST = st.dictionaries(
    st.sampled_from(
        [
            "messages",
            "system",
            "tools",
            "tool_choice",
            "max_tokens",
            "thinking",
            "output_config",
            "input",
            "text",
            "instructions",
            "reasoning",
            "stream",
            "metadata",
            "model",
            "chat_template_kwargs",
        ]
    ),
    VALUE,
    max_size=6,
)


@given(REQUEST, VALUE, VALUE)
def test_requests_become_chat_bodies_or_api_errors(fields: dict[str, Any], said: Any, tool: Any) -> None:
    block = [{"role": "user", "type": "message", "content": [said]}]
    for body in (fields, fields | {"messages": block, "input": block, "tools": [tool], "max_tokens": 1}):
        with suppress(ApiError):
            Body.of(messages_request.chat_request(Body.of(body), strip_preamble=True))
        with suppress(ApiError):
            Body.of(responses_request.chat_request(Body.of(body))[0])
