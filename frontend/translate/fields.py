"""What both requests have in common: fields that pass as they are, content parts, function tools."""

from typing import Any, Final

import msgspec

from frontend.body import Body
from frontend.errors import bad_request

PASSED: Final = (
    "model",
    "nvext",
    "routing",
    "router_config_override",
    "cache_salt",
    "priority",
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "seed",
    "min_tokens",
    "ignore_eos",
    "presence_penalty",
    "frequency_penalty",
    "repetition_penalty",
    "thinking_token_budget",
)
"""Fields that mean the same in a chat request: routing's, sampling's, and the engines' own."""


def passed(body: Body) -> dict[str, Any]:
    """The fields of ``body`` that pass unread."""
    return {name: msgspec.Raw(raw) for name in PASSED if (raw := body.raw(name)) is not None}


def streamed(body: Body) -> dict[str, Any]:
    """``stream``, with the usage that the other APIs always tell at the end."""
    if not body.get("stream", bool):
        return {}
    return {"stream": True, "stream_options": {"include_usage": True}}


def text_part(text: str) -> dict[str, Any]:
    """A content part."""
    return {"type": "text", "text": text}


def image_part(url: str, detail: str | None = None) -> dict[str, Any]:
    """A content part; ``url`` may be a ``data:`` URL."""
    image = {"url": url} if detail is None else {"url": url, "detail": detail}
    return {"type": "image_url", "image_url": image}


def lone_text(parts: list[dict[str, Any]]) -> str | list[dict[str, Any]]:
    """Parts as content: a text by itself is a string."""
    if len(parts) == 1 and parts[0]["type"] == "text":
        return str(parts[0]["text"])
    return parts


def reasoning_fields(reasoning: str) -> dict[str, str]:
    """Reasoning of an earlier turn, under the names that engines read it by."""
    return {"reasoning": reasoning, "reasoning_content": reasoning}


def call(call_id: str, name: str, arguments: str) -> dict[str, Any]:
    """A tool call of an earlier turn."""
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def function(name: str, **optional: Any) -> dict[str, Any]:
    """A function tool; what is None is left out."""
    given = {key: value for key, value in optional.items() if value is not None}
    return {"type": "function", "function": {"name": name, **given}}


def chosen(name: str) -> dict[str, Any]:
    """``tool_choice`` of one function."""
    return {"type": "function", "function": {"name": name}}


def given(**fields: Any) -> dict[str, Any]:
    """The fields that are not None."""
    return {name: value for name, value in fields.items() if value is not None}


def refuse(body: Body, names: dict[str, str]) -> None:
    """400 for the first field of ``names`` that asks for something; the value says why it cannot be had."""
    for name, why in names.items():
        if body.raw(name) not in {None, b"null", b"false", b"[]", b"{}", b"0", b'""'}:
            raise bad_request(f"`{name}` is not supported: {why}.")
