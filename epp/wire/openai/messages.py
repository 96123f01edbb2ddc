"""``/v1/messages`` and ``/v1/messages/count_tokens``: Anthropic's form becomes the chat form.

The steps are those of vLLM 0.32's own endpoint (``vllm/entrypoints/anthropic/serving.py``): system blocks are
joined without a separator and attribution blocks dropped, ``tool_use`` becomes tool calls, a user's
``tool_result`` becomes a tool message placed before the rest of its turn, thinking becomes reasoning.
"""

from typing import Any, Final

import msgspec

from epp.core.errors import BadRequestError
from epp.core.requests import ChatPrompt
from epp.wire.openai.bounds import OutputLimit, RequestLimits, bounded
from epp.wire.openai.common import Body, template_kwargs
from epp.wire.openai.content import has_billing_header, has_media, without_billing_header
from epp.wire.openai.tools import Function, function_dicts

_TOOL_CHANGES: Final = frozenset({"tool_addition", "tool_removal"})


class _ResultPart(msgspec.Struct, gc=False):
    type: str | None = None
    text: str | None = None
    tool_name: str | None = None
    name: str | None = None


class _Block(msgspec.Struct, gc=False):
    type: str
    text: str | None = None
    thinking: str | None = None
    id: str | None = None
    tool_use_id: str | None = None
    name: str | None = None
    input: dict[str, Any] | None = None
    content: str | list[_ResultPart] | None = None


class _Message(msgspec.Struct, gc=False):
    role: str
    content: str | list[_Block]


class _Tool(msgspec.Struct, gc=False):
    name: str
    description: str | None = None
    input_schema: dict[str, Any] | None = None
    strict: bool | None = None
    defer_loading: bool | None = None


class _OutputConfig(msgspec.Struct, gc=False):
    effort: str | None = None


class _Thinking(msgspec.Struct, gc=False):
    type: str | None = None


class MessagesBody(Body, kw_only=True):
    """A Messages or count-tokens request."""

    messages: list[_Message]
    system: str | list[_Block] | None = None
    tools: list[_Tool] | None = None
    max_tokens: OutputLimit = None
    output_config: _OutputConfig | None = None
    thinking: _Thinking | None = None
    chat_template_kwargs: dict[str, Any] | None = None

    def max_output_tokens(self) -> OutputLimit:
        """Required by the API, absent when tokens are counted."""
        return self.max_tokens


def messages_prompt(body: MessagesBody, limits: RequestLimits) -> ChatPrompt | None:
    """The conversation; None if it changes its own tool list on the way, which is not followed here."""
    if not body.messages:
        raise BadRequestError("Field `messages` must hold at least one message.")
    bounded(body.messages, limits.max_messages, "messages")
    bounded(body.tools or (), limits.max_tools, "tools")
    if any(_changes_tools(message) for message in body.messages):
        return None
    out: list[dict[str, Any]] = []
    if system := _system_text(body.system):
        out.append({"role": "system", "content": without_billing_header(system)})
    for message in body.messages:
        _add_message(out, message)
    return ChatPrompt(
        messages=out,
        tools=None if body.tools is None else function_dicts([_function(tool) for tool in body.tools]),
        template_kwargs=template_kwargs(body.chat_template_kwargs, _effort(body)),
        multimodal=any(has_media(message["content"]) for message in out),
        joins_system=True,
    )


def _changes_tools(message: _Message) -> bool:
    return not isinstance(message.content, str) and any(b.type in _TOOL_CHANGES for b in message.content)


def _effort(body: MessagesBody) -> str | None:
    """Thinking that is switched off outranks an effort."""
    if body.thinking and body.thinking.type == "disabled":
        return "none"
    return body.output_config.effort if body.output_config else None


def _system_text(content: str | list[_Block] | None) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    return "".join(b.text for b in content if b.type == "text" and b.text and not has_billing_header(b.text))


def _add_message(out: list[dict[str, Any]], message: _Message) -> None:
    content = message.content
    if message.role == "system":
        text = _system_text(content)
        if text and not has_billing_header(text):
            out.append({"role": "system", "content": text})
    elif isinstance(content, str):
        out.append({"role": message.role, "content": content})
    else:
        turn = _Turn(message.role, out)
        for block in content:
            turn.add(block)
        turn.close()


class _Turn:
    """One message with content blocks while it is being taken apart."""

    def __init__(self, role: str, out: list[dict[str, Any]]) -> None:
        self._role = role
        self._out = out
        self._parts: list[dict[str, Any]] = []
        self._calls: list[dict[str, Any]] = []
        self._reasoning: list[str] = []

    def add(self, block: _Block) -> None:
        """Take one block; kinds that no template shows (``redacted_thinking`` …) leave no trace."""
        if block.type == "text":
            if block.text:
                self._parts.append({"type": "text", "text": block.text})
        elif block.type == "image":
            self._parts.append({"type": "image_url"})
        elif block.type == "thinking":
            if block.thinking is not None:
                self._reasoning.append(block.thinking)
        elif block.type == "tool_use":
            function = {"arguments": block.input or {}, "name": block.name or ""}
            self._calls.append({"id": block.id or "", "function": function, "type": "function"})
        elif block.type == "tool_result":
            self._add_result(block)

    def close(self) -> None:
        """Append the message; a user turn of nothing but tool results has none of its own."""
        if self._role == "user" and not self._parts:
            return
        lone_text = len(self._parts) == 1 and self._parts[0]["type"] == "text"
        message: dict[str, Any] = {
            "role": self._role,
            "content": self._parts[0]["text"] if lone_text else self._parts,
        }
        if self._calls:
            message["tool_calls"] = self._calls
        if self._reasoning:
            message["reasoning"] = message["reasoning_content"] = "".join(self._reasoning)
        self._out.append(message)

    def _add_result(self, block: _Block) -> None:
        if self._role != "user":
            text = block.content if isinstance(block.content, str) else ""
            self._parts.append({"type": "text", "text": f"Tool result: {text}"})
            return
        items = block.content if isinstance(block.content, list) else []
        text = (
            block.content
            if isinstance(block.content, str)
            else "\n".join(item.text or "" for item in items if item.type == "text")
        )
        call = block.tool_use_id or ""
        self._out.append({"role": "tool", "content": text, "tool_call_id": call})
        images: list[dict[str, Any]] = [{"type": "image_url"} for item in items if item.type == "image"]
        if images:
            self._out.append({"role": "user", "content": images})
        names = [item.tool_name or item.name for item in items if item.type == "tool_reference"]
        if references := [{"type": "tool_reference", "name": name} for name in names if name]:
            self._out.append({"role": "tool", "content": references, "tool_call_id": call})


def _function(tool: _Tool) -> Function:
    """A schema without ``type`` is an object's, as vLLM adds."""
    schema = tool.input_schema or {}
    parameters = schema if "type" in schema else {**schema, "type": "object"}
    return Function(tool.name, tool.description, parameters, tool.strict, tool.defer_loading)
