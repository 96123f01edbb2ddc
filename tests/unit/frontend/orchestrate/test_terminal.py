"""A whole answer told as the stream it would have been."""

import json
from typing import Any

from epp.core.requests import Api
from frontend.body import Body
from frontend.orchestrate.terminal import chunks


def told(api: Api, answer: dict[str, Any], *, include_usage: bool = False) -> list[dict[str, Any]]:
    return [json.loads(raw) for raw in chunks(api, Body.of(answer), include_usage=include_usage)]


CHAT = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "model": "m",
    "choices": [
        {
            "index": 0,
            "finish_reason": "stop",
            "message": {
                "role": "assistant",
                "content": "Hi",
                "refusal": None,
                "tool_calls": [{"id": "a", "type": "function", "function": {"name": "f"}}],
            },
        }
    ],
    "usage": {"completion_tokens": 1},
}


def test_a_chat() -> None:
    (chunk,) = told(Api.CHAT, CHAT)
    assert (chunk["object"], chunk["id"], "usage" in chunk) == ("chat.completion.chunk", "chatcmpl-1", False)
    (choice,) = chunk["choices"]
    assert choice["finish_reason"] == "stop"
    assert choice["delta"] == {
        "role": "assistant",
        "content": "Hi",
        "tool_calls": [{"index": 0, "id": "a", "type": "function", "function": {"name": "f"}}],
    }


def test_usage_comes_last_if_asked_for() -> None:
    _, last = told(Api.CHAT, CHAT, include_usage=True)
    assert (last["choices"], last["usage"]) == ([], {"completion_tokens": 1})


def test_other_choices_stay_as_they_are() -> None:
    choice = {"index": 0, "text": "Hi", "finish_reason": "length"}
    assert told(Api.COMPLETIONS, {"object": "text_completion", "choices": [choice]}) == [
        {"object": "text_completion", "choices": [choice]}
    ]
