"""``/v1/chat/completions``, and the chat forms of ``/v1/embeddings`` and ``/tokenize``.

Messages become what vLLM 0.32 hands to the chat template (``vllm/renderers/chat_utils.py``): only the fields
templates know, tool arguments as objects, ``reasoning`` under both its names, tool results as plain text.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from epp.core.errors import BadRequestError
from epp.core.requests import ChatPrompt
from epp.wire.openai.bounds import OutputLimit, RequestLimits, bounded
from epp.wire.openai.common import Body, template_kwargs
from epp.wire.openai.content import (
    Content,
    has_media,
    joined_text,
    normal_form,
    only_text,
    without_billing_header,
)
from epp.wire.openai.tools import Tool, call_dicts, tool_dicts


class Message(msgspec.Struct, gc=False):
    """One chat message as sent."""

    role: str
    content: Content = None
    name: str | None = None
    tool_call_id: str | None = None
    tool_calls: list[dict[str, Any]] | None = None
    reasoning: str | None = None
    reasoning_content: str | None = None
    tools: list[Tool] | None = None
    task: str | None = None


class ChatOptions(Body, kw_only=True):
    """What shapes the rendering of a conversation, wherever the conversation stands."""

    tools: list[Tool] | None = None
    documents: list[dict[str, Any]] | None = None
    chat_template: str | None = None
    chat_template_kwargs: dict[str, Any] | None = None
    reasoning_effort: str | None = None
    add_generation_prompt: bool | None = None
    continue_final_message: bool | None = None
    add_special_tokens: bool | None = None


class ChatBody(ChatOptions, kw_only=True):
    """A chat completion request."""

    messages: list[Message]
    max_tokens: OutputLimit = None
    max_completion_tokens: OutputLimit = None

    def max_output_tokens(self) -> OutputLimit:
        """``max_tokens`` is the deprecated name."""
        return self.max_tokens if self.max_completion_tokens is None else self.max_completion_tokens


def chat_prompt(body: ChatBody, limits: RequestLimits) -> ChatPrompt | None:
    """The conversation of a chat completion."""
    return conversation(body, body.messages, limits)


def conversation(
    options: ChatOptions, messages: Sequence[Message], limits: RequestLimits, *, answers: bool = True
) -> ChatPrompt | None:
    """``messages`` rendered by ``options``; ``answers`` is the default of ``add_generation_prompt``.

    None: the request brings its own template source, which is never run here, so nothing can be matched.
    """
    if not messages:
        raise BadRequestError("Field `messages` must hold at least one message.")
    bounded(messages, limits.max_messages, "messages")
    bounded(options.tools or (), limits.max_tools, "tools")
    kwargs = options.chat_template_kwargs or {}
    if options.chat_template is not None or kwargs.get("chat_template") is not None:
        return None
    dicts = [message_dict(message) for message in messages]
    wanted = options.add_generation_prompt
    return ChatPrompt(
        messages=dicts,
        tools=tool_dicts(options.tools),
        documents=options.documents,
        add_generation_prompt=answers if wanted is None else wanted,
        continue_final_message=bool(options.continue_final_message),
        template_kwargs=template_kwargs(kwargs, options.reasoning_effort),
        add_special_tokens=bool(options.add_special_tokens),
        multimodal=any(has_media(message["content"]) for message in dicts),
    )


def message_dict(message: Message) -> dict[str, Any]:
    """A message for the template."""
    role = message.role
    content = normal_form(message.content)
    if role == "system":
        content = without_billing_header(content)
    out: dict[str, Any] = {"role": role, "content": content}
    if role == "assistant":
        _add_assistant_fields(out, message)
    elif role == "tool":
        _add_tool_fields(out, message)
    if message.name is not None:
        out["name"] = message.name
    if message.task is not None:
        out["task"] = message.task
    if role == "developer":
        out["tools"] = tool_dicts(message.tools)
    return out


def _add_assistant_fields(out: dict[str, Any], message: Message) -> None:
    if message.tool_calls:
        out["tool_calls"] = call_dicts(message.tool_calls)
    reasoning = message.reasoning if message.reasoning is not None else message.reasoning_content
    if reasoning is not None:
        out["reasoning"] = out["reasoning_content"] = reasoning


def _add_tool_fields(out: dict[str, Any], message: Message) -> None:
    """Most templates handle only strings as tool results, so engines join text parts in any format."""
    if message.tool_call_id is not None:
        out["tool_call_id"] = message.tool_call_id
    content = out["content"]
    if not isinstance(content, str) and only_text(content):
        out["content"] = joined_text(content)
