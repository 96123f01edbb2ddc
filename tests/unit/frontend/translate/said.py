"""Chat streams as vLLM writes them, and the other APIs' streams read back."""

from typing import Any

import msgspec

from frontend.sse import DONE, SseEvent, SseReader, event
from frontend.translate.chat import Chunk, read_chunk

USAGE = {
    "prompt_tokens": 20,
    "completion_tokens": 7,
    "total_tokens": 27,
    "prompt_tokens_details": {"cached_tokens": 16},
}


def delta(said: dict[str, Any] | None = None, **choice: Any) -> dict[str, Any]:
    """One chunk."""
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "delta": said or {}, "finish_reason": None, **choice}],
    }


def text(piece: str) -> dict[str, Any]:
    return delta({"content": piece})


def reasoning(piece: str) -> dict[str, Any]:
    return delta({"reasoning": piece})


def call(
    index: int, *, call_id: str | None = None, name: str | None = None, arguments: str = ""
) -> dict[str, Any]:
    function: dict[str, Any] = {"arguments": arguments}
    tool: dict[str, Any] = {"index": index, "function": function}
    if name is not None:
        function["name"] = name
        tool |= {"id": call_id, "type": "function"}
    return delta({"tool_calls": [tool]})


def end(reason: str = "stop", **choice: Any) -> dict[str, Any]:
    return delta(finish_reason=reason, **choice)


def usage() -> dict[str, Any]:
    return {"id": "chatcmpl-1", "object": "chat.completion.chunk", "choices": [], "usage": USAGE}


def sse(*chunks: dict[str, Any]) -> bytes:
    """Chunks as a chat stream."""
    return b"".join(event(msgspec.json.encode(chunk)) for chunk in chunks) + DONE


ROLE = delta({"role": "assistant", "content": ""})
"""What vLLM's streams begin with."""
TWO_CALLS = (
    ROLE,
    reasoning("Let me "),
    reasoning("see."),
    text("I look"),
    text(" it up."),
    call(0, call_id="call_a", name="weather"),
    call(0, arguments='{"city": '),
    call(0, arguments='"Oslo"}'),
    call(1, call_id="call_b", name="weather", arguments='{"city": "Rome"}'),
    end("tool_calls"),
    usage(),
)
"""Reasoning, then text, then two calls."""


def whole(message: dict[str, Any], reason: str = "stop", **choice: Any) -> bytes:
    """A whole chat completion as bytes."""
    chosen = {"index": 0, "message": message, "finish_reason": reason, **choice}
    return msgspec.json.encode({"object": "chat.completion", "choices": [chosen], "usage": USAGE})


def completion(message: dict[str, Any], reason: str = "stop", **choice: Any) -> Chunk:
    """A whole chat completion."""
    return read_chunk(whole(message, reason, **choice))


def read(stream: bytes) -> list[dict[str, Any]]:
    """The events of another API's stream; each is named by its type, and none is left over."""
    found = []
    for one in SseReader().feed(stream):
        value = msgspec.json.decode(one.data)
        assert value["type"] == one.event
        found.append(value)
    assert stream.endswith(b"\n\n") or not stream
    return found


def events(stream: bytes) -> list[SseEvent]:
    return SseReader().feed(stream)
