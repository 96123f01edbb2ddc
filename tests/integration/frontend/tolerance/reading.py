"""What a client sees of an answer in each API: its text, its end, its counts; and that it is well formed."""

import json
from collections.abc import Callable, Mapping
from typing import Any

CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
MESSAGES, RESPONSES = "/v1/messages", "/v1/responses"


def said(raw: bytes) -> dict[str, Any]:
    """What a client sees of a chat or completion answer, streamed or whole: text, how it ended, counts."""
    if not raw.startswith((b"data:", b":")):
        return _summary([json.loads(raw)], whole=True)
    events = [line[5:].strip() for line in raw.split(b"\n") if line.startswith(b"data:")]
    assert events.count(b"[DONE]") == 1, "one end"
    assert events[-1] == b"[DONE]"
    return _summary([json.loads(event) for event in events[:-1]], whole=False)


def _summary(chunks: list[dict[str, Any]], *, whole: bool) -> dict[str, Any]:
    assert all("choices" in chunk for chunk in chunks), chunks[-1]
    choices = [choice for chunk in chunks for choice in chunk["choices"]]
    part = "message" if whole else "delta"
    texts = [c[part].get("content") if part in c else c["text"] for c in choices]
    usages = [chunk["usage"] for chunk in chunks if chunk.get("usage")]
    roles = [c[part]["role"] for c in choices if part in c and "role" in c[part]]
    names = {(chunk["id"], chunk["object"], chunk["model"], chunk["created"]) for chunk in chunks}
    assert len(names) == 1, "chunks of one answer bear one name"
    return {
        "text": "".join(text or "" for text in texts),
        "finish_reason": [c["finish_reason"] for c in choices if c["finish_reason"] is not None],
        "roles": roles,
        "usage": [{k: u[k] for k in ("prompt_tokens", "completion_tokens", "total_tokens")} for u in usages],
        "token_ids": [token for c in choices for token in c.get("token_ids") or ()],
        "object": chunks[0]["object"],
    }


def _events(raw: bytes) -> list[dict[str, Any]]:
    """Events named by their type, all whole."""
    assert raw.endswith(b"\n\n"), "the last event is whole"
    found = []
    for block in raw.strip().split(b"\n\n"):
        fields = dict(line.split(b": ", 1) for line in block.split(b"\n"))
        value = json.loads(fields[b"data"])
        assert value["type"] == fields[b"event"].decode()
        found.append(value)
    return found


def message_said(raw: bytes) -> dict[str, Any]:
    """An Anthropic message, streamed or whole."""
    if not raw.startswith(b"event:"):
        message = json.loads(raw)
        texts = [block["text"] for block in message["content"]]
        return {"text": "".join(texts), "stop": message["stop_reason"], "usage": _counts(message["usage"])}
    first, *middle, delta, last = _events(raw)
    assert (first["type"], delta["type"], last["type"]) == ("message_start", "message_delta", "message_stop")
    kinds = [one["type"].removeprefix("content_block_") for one in middle if one["type"] != "ping"]
    assert (kinds[0], kinds[-1], set(kinds[1:-1])) == ("start", "stop", {"delta"}), kinds
    text = "".join(one["delta"]["text"] for one in middle if one["type"] == "content_block_delta")
    return {"text": text, "stop": delta["delta"]["stop_reason"], "usage": _counts(delta["usage"])}


def response_said(raw: bytes) -> dict[str, Any]:
    """A Response, streamed or whole."""
    if not raw.startswith(b"event:"):
        return _response(json.loads(raw))
    events = _events(raw)
    assert [one["sequence_number"] for one in events] == list(range(len(events))), "nothing is left out"
    assert events[-1]["type"] in {"response.completed", "response.incomplete"}
    said = _response(events[-1]["response"])
    deltas = [one["delta"] for one in events if one["type"] == "response.output_text.delta"]
    assert "".join(deltas) == said["text"]
    return said


def _response(response: dict[str, Any]) -> dict[str, Any]:
    texts = [part["text"] for item in response["output"] for part in item["content"]]
    return {
        "text": "".join(texts),
        "stop": (response["status"], response["incomplete_details"]),
        "usage": _counts(response["usage"]),
    }


def _counts(usage: dict[str, Any]) -> dict[str, int]:
    """Of tokens; how many of them were cached depends on the worker."""
    cached = usage.get("cache_read_input_tokens", 0)
    return {"input": usage["input_tokens"] + cached, "output": usage["output_tokens"]}


READERS: Mapping[str, Callable[[bytes], dict[str, Any]]] = {
    CHAT: said,
    COMPLETIONS: said,
    MESSAGES: message_said,
    RESPONSES: response_said,
}
"""By path."""
