"""OpenAI's Responses requests as chat completion requests.

Form: https://platform.openai.com/docs/api-reference/responses/create. Input items become what vLLM's own
endpoint makes of them, and so what :mod:`epp.wire.openai.responses` reads in them: reasoning, text and calls
that follow each other are one assistant message. Nothing is remembered between requests, so whatever refers
to an earlier response is refused.
"""

from typing import Any, Final

import msgspec

from frontend.body import Body
from frontend.errors import bad_request
from frontend.translate.fields import given, passed, refuse, streamed
from frontend.translate.responses_items import Conversation, Item
from frontend.translate.responses_tools import ToolNames, tool_fields


class _Format(msgspec.Struct, gc=False):
    type: str
    name: str | None = None
    description: str | None = None
    strict: bool | None = None
    schema: msgspec.Raw = msgspec.field(default_factory=msgspec.Raw)


class _Text(msgspec.Struct, gc=False):
    format: _Format | None = None


class _Reasoning(msgspec.Struct, gc=False):
    effort: str | None = None


_INPUT: Final[Any] = str | list[Item]
_STATELESS: Final = "nothing is stored between requests, so send the whole conversation as `input`"
_REFUSED: Final = {
    "previous_response_id": _STATELESS,
    "conversation": _STATELESS,
    "prompt": "prompt templates are not stored here",
    "background": "a response is made while its client waits",
    "top_logprobs": "ask for log-probabilities through chat completions",
}
_ECHOED: Final = {
    "instructions": b"null",
    "max_output_tokens": b"null",
    "metadata": b"{}",
    "parallel_tool_calls": b"true",
    "reasoning": b"null",
    "temperature": b"null",
    "text": b'{"format":{"type":"text"}}',
    "tool_choice": b'"auto"',
    "tools": b"[]",
    "top_p": b"null",
    "user": b"null",
}
"""Fields that a response repeats, and what it says where the request said nothing."""


def chat_request(body: Body) -> tuple[dict[str, Any], ToolNames]:
    """The chat request that means the same, and how to read the calls in its answer. Raises ApiError (400)
    with a sentence for the client."""
    refuse(body, _REFUSED)
    chat = passed(body) | _conversation(body)
    tools, names = tool_fields(body)
    chat |= tools | _text(body)
    reasoning = body.get("reasoning", _Reasoning)
    chat |= given(
        max_tokens=body.get("max_output_tokens", int),
        parallel_tool_calls=body.get("parallel_tool_calls", bool),
        reasoning_effort=reasoning and reasoning.effort,
        user=body.get("user", str) or body.get("safety_identifier", str),
        chat_template_kwargs=body.get("chat_template_kwargs", dict[str, msgspec.Raw]),
    )
    return chat | streamed(body), names


def echo(body: Body) -> dict[str, Any]:
    """The fields of the request that its response repeats."""
    fields = {name: body.raw(name) or missing for name, missing in _ECHOED.items()}
    return {name: msgspec.Raw(_ECHOED[name] if raw == b"null" else raw) for name, raw in fields.items()}


def _conversation(body: Body) -> dict[str, Any]:
    conversation = Conversation()
    if instructions := body.get("instructions", str):
        conversation.say("system", instructions)
    given_input: str | list[Item] | None = body.get("input", _INPUT)
    if isinstance(given_input, str):
        conversation.say("user", given_input)
    for item in given_input if isinstance(given_input, list) else ():
        conversation.add(item)
    if not conversation.messages:
        raise bad_request("`input` must hold at least one item.")
    chat: dict[str, Any] = {"messages": conversation.messages}
    if conversation.unfinished:
        chat |= {"add_generation_prompt": False, "continue_final_message": True}
    return chat


def _text(body: Body) -> dict[str, Any]:
    form = (body.get("text", _Text) or _Text()).format
    if form is None or form.type == "text":
        return {}
    if form.type == "json_object":
        return {"response_format": {"type": "json_object"}}
    if form.type != "json_schema" or not bytes(form.schema).startswith(b"{"):
        raise bad_request(f"`text.format` of type `{form.type}` is not supported, or lacks a `schema`.")
    schema = given(description=form.description, strict=form.strict)
    return {
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": form.name or "output", "schema": form.schema, **schema},
        }
    }
