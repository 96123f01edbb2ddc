"""``/v1/responses``: input items become chat messages the way vLLM 0.32 makes them.

Facts: ``vllm/entrypoints/openai/responses/{protocol,utils}.py``. Reasoning, text and tool calls that follow
each other are one assistant message; only the first content part of an assistant's output counts.
"""

from typing import Any, Final

import msgspec

from epp.core.errors import BadRequestError
from epp.core.requests import ChatPrompt
from epp.wire.openai.bounds import OutputLimit, RequestLimits, bounded
from epp.wire.openai.chat import Message, message_dict
from epp.wire.openai.common import Body, template_kwargs
from epp.wire.openai.content import UNKNOWN, Content, Part, has_media
from epp.wire.openai.tools import Function, arguments_object, function_dicts


class _Reasoning(msgspec.Struct, gc=False):
    effort: str | None = None


class _ResponsesTool(msgspec.Struct, gc=False):
    type: str
    name: str | None = None
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None
    defer_loading: bool | None = None
    tools: list["_ResponsesTool"] | None = None


class _Item(msgspec.Struct, gc=False):
    type: str | None = None
    role: str | None = None
    content: Content = None
    status: str | None = None
    call_id: str | None = None
    name: str | None = None
    namespace: str | None = None
    arguments: str | None = None
    input: str | None = None
    output: Content = None
    summary: list[Part | str] | None = None


class ResponsesBody(Body, kw_only=True):
    """A Responses request."""

    input: str | list[_Item]
    instructions: str | None = None
    previous_response_id: str | None = None
    max_output_tokens_: OutputLimit = msgspec.field(default=None, name="max_output_tokens")
    reasoning: _Reasoning | None = None
    tools: list[_ResponsesTool] | None = None
    chat_template_kwargs: dict[str, Any] | None = None

    def max_output_tokens(self) -> OutputLimit:
        """The API's own name."""
        return self.max_output_tokens_


_CALLS: Final = frozenset({"function_call", "custom_tool_call"})
_OUTPUTS: Final = frozenset({"function_call_output", "custom_tool_call_output"})
CUSTOM_PARAMETERS: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {
        "input": {"type": "string", "description": "The freeform text payload for this tool."},
    },
    "required": ["input"],
    "additionalProperties": False,
}
"""The function schema vLLM shows a ``custom`` tool as; part of the prompt, so to the letter."""
_UNFINISHED: Final = frozenset({"in_progress", "incomplete"})


def responses_prompt(body: ResponsesBody, limits: RequestLimits) -> ChatPrompt | None:
    """The conversation; None if it continues one that only the engine remembers."""
    items = body.input
    bounded(items if isinstance(items, list) else (), limits.max_messages, "input")
    bounded(body.tools or (), limits.max_tools, "tools")
    if body.previous_response_id:
        return None
    messages = _messages(body)
    if not messages:
        raise BadRequestError("Field `input` must hold at least one item.")
    continues = _continues(items)
    return ChatPrompt(
        messages=messages,
        tools=function_dicts(_functions(body.tools)) if body.tools else None,
        add_generation_prompt=not continues,
        continue_final_message=continues,
        template_kwargs=template_kwargs(
            body.chat_template_kwargs, body.reasoning.effort if body.reasoning else None
        ),
        multimodal=any(has_media(message.get("content", "")) for message in messages),
    )


def _messages(body: ResponsesBody) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = []
    if body.instructions:
        messages.append(message_dict(Message(role="system", content=body.instructions)))
    if isinstance(body.input, str):
        messages.append({"role": "user", "content": body.input})
        return messages
    for item in body.input:
        _add_item(messages, item)
    for message in messages:
        message.setdefault("content", [])
    return messages


def _add_item(messages: list[dict[str, Any]], item: _Item) -> None:
    if item.type in _CALLS:
        _open_assistant(messages).setdefault("tool_calls", []).append(_tool_call(item))
    elif item.type == "reasoning":
        message = _assistant_without(messages, "reasoning")
        message["reasoning"] = message["reasoning_content"] = (
            _first_text(item.content) or _first_text(item.summary) or ""
        )
    elif item.type in _OUTPUTS:
        messages.append(
            message_dict(Message(role="tool", content=item.output, tool_call_id=item.call_id or ""))
        )
    elif item.role == "assistant" and (text := _first_text(item.content)) is not None:
        _assistant_without(messages, "content")["content"] = text
    elif item.role is not None:
        messages.append(message_dict(Message(role=item.role, content=item.content)))
    else:
        # An item of a kind no template knows; text after it cannot be matched.
        messages.append({"role": "user", "content": [{"type": item.type or UNKNOWN}]})


def _open_assistant(messages: list[dict[str, Any]]) -> dict[str, Any]:
    """The assistant message being assembled: the last one, or a new one."""
    if not messages or messages[-1]["role"] != "assistant":
        messages.append({"role": "assistant"})
    return messages[-1]


def _assistant_without(messages: list[dict[str, Any]], field: str) -> dict[str, Any]:
    """The assistant message being assembled, unless it has ``field`` already."""
    message = _open_assistant(messages)
    if field in message:
        message = {"role": "assistant"}
        messages.append(message)
    return message


def _tool_call(item: _Item) -> dict[str, Any]:
    name = item.name or ""
    if item.type == "custom_tool_call":
        arguments: dict[str, Any] = {"input": item.input or ""}
    else:
        arguments = arguments_object(item.arguments)
        name = f"{item.namespace}__{name}" if item.namespace else name
    function = {"name": name, "arguments": arguments}
    return {"id": item.call_id or "", "function": function, "type": "function"}


def _first_text(content: Content) -> str | None:
    if isinstance(content, str):
        return content
    if not content:
        return None
    first = content[0]
    return first if isinstance(first, str) else first.text


def _functions(tools: list[_ResponsesTool] | None) -> list[Function]:
    """Tools a model is shown: functions, those in namespaces under joined names, and custom tools as
    functions of one string. Tools the engine runs itself are left out."""
    found: list[Function] = []
    for tool in tools or ():
        if tool.type == "namespace":
            found += [
                _function(t, f"{tool.name}__{t.name}") for t in tool.tools or () if t.type == "function"
            ]
        elif tool.type == "custom":
            found.append(Function(tool.name or "", tool.description, CUSTOM_PARAMETERS))
        elif tool.type == "function":
            found.append(_function(tool, tool.name or ""))
    return found


def _function(tool: _ResponsesTool, name: str) -> Function:
    return Function(name, tool.description, tool.parameters, tool.strict, tool.defer_loading)


def _continues(items: str | list[_Item]) -> bool:
    """True: the last item is an unfinished message, which the model goes on writing."""
    if isinstance(items, str) or not items:
        return False
    last = items[-1]
    return (last.type or "message") in {"message", "reasoning"} and last.status in _UNFINISHED
