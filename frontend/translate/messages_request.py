"""Anthropic's Messages requests as chat completion requests.

Form: https://docs.anthropic.com/en/api/messages. The conversation becomes what vLLM's own endpoint makes of
it, and so what :mod:`epp.wire.openai.messages` reads in it; a block that has no place in a chat request is
refused by its type. What passes unread (schemas, tool inputs, sampling numbers) keeps its bytes.
"""

from typing import Any, Final

import msgspec

from epp.wire.openai.content import has_billing_header, without_billing_header
from frontend.body import Body
from frontend.errors import bad_request
from frontend.translate.fields import chosen, function, given, passed, refuse, streamed
from frontend.translate.messages_blocks import Block, Turn


class _Message(msgspec.Struct, gc=False):
    role: str
    content: str | list[Block]


class _Tool(msgspec.Struct, gc=False):
    name: str
    type: str | None = None
    description: str | None = None
    input_schema: dict[str, msgspec.Raw] | None = None
    strict: bool | None = None
    defer_loading: bool | None = None


class _Choice(msgspec.Struct, gc=False):
    type: str
    name: str | None = None
    disable_parallel_tool_use: bool | None = None


class _Thinking(msgspec.Struct, gc=False):
    type: str
    budget_tokens: int | None = None


class _Format(msgspec.Struct, gc=False):
    type: str
    schema: msgspec.Raw = msgspec.field(default_factory=msgspec.Raw)


class _OutputConfig(msgspec.Struct, gc=False):
    effort: str | None = None
    format: _Format | None = None


class _Metadata(msgspec.Struct, gc=False):
    user_id: str | None = None


_CONTENT: Final[Any] = str | list[Block]
_ROLES: Final = frozenset({"user", "assistant", "system"})
_CHOICES: Final = {"auto": "auto", "any": "required", "none": "none"}
_OURS: Final = frozenset({None, "custom"})
"""Types of tools that the client runs and describes itself."""
_REFUSED: Final = {
    "mcp_servers": "this server calls no tools itself",
    "container": "this server runs no code",
}


def chat_request(body: Body, *, strip_preamble: bool, counting: bool = False) -> dict[str, Any]:
    """The chat request that means the same.

    ``strip_preamble`` drops the attribution line before the system prompt; ``counting``: only the prompt
    matters, ``max_tokens`` may be missing. Raises ApiError (400) with a sentence for the client.
    """
    refuse(body, _REFUSED)
    chat = passed(body)
    chat["messages"] = _messages(body, strip_preamble=strip_preamble)
    if not counting:
        chat["max_tokens"] = _max_tokens(body)
    chat |= given(stop=body.get("stop_sequences", list[str]) or None)
    chat |= _tools(body) | _tool_choice(body) | _thinking(body) | _output_config(body)
    metadata = body.get("metadata", _Metadata)
    chat |= given(user=metadata and metadata.user_id)
    return chat | streamed(body)


def _max_tokens(body: Body) -> int:
    limit = body.get("max_tokens", int)
    if limit is None or limit < 1:
        raise bad_request("`max_tokens` is required and must be at least 1.")
    return limit


def _messages(body: Body, *, strip_preamble: bool) -> list[dict[str, Any]]:
    messages = body.get("messages", list[_Message])
    if not messages:
        raise bad_request("`messages` must hold at least one message.")
    out: list[dict[str, Any]] = []
    given_system: str | list[Block] | None = body.get("system", _CONTENT)
    if system := _system_text(given_system, strip_preamble=strip_preamble):
        content = without_billing_header(system) if strip_preamble else system
        out.append({"role": "system", "content": content})
    for message in messages:
        _add(out, message, strip_preamble=strip_preamble)
    if not out:
        raise bad_request("`messages` hold no content.")
    return out


def _system_text(content: str | list[Block] | None, *, strip_preamble: bool) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    texts = [block.text for block in content if block.type == "text" and block.text]
    return "".join(text for text in texts if not (strip_preamble and has_billing_header(text)))


def _add(out: list[dict[str, Any]], message: _Message, *, strip_preamble: bool) -> None:
    role, content = message.role, message.content
    if role not in _ROLES:
        raise bad_request(f"`role` of a message must be `user` or `assistant`, not `{role}`.")
    if role == "system":
        text = _system_text(content, strip_preamble=strip_preamble)
        if text and not (strip_preamble and has_billing_header(text)):
            out.append({"role": "system", "content": text})
    elif isinstance(content, str):
        out.append({"role": role, "content": content})
    else:
        turn = Turn(role, out)
        for block in content:
            turn.add(block)
        turn.close()


def _tools(body: Body) -> dict[str, Any]:
    tools = body.get("tools", list[_Tool])
    return {"tools": [_function(tool) for tool in tools]} if tools else {}


def _function(tool: _Tool) -> dict[str, Any]:
    """A schema without ``type`` is an object's."""
    if tool.type not in _OURS:
        raise bad_request(f"The tool `{tool.name}` of type `{tool.type}` is not supported: it has no schema.")
    schema: dict[str, Any] = dict(tool.input_schema or {})
    schema.setdefault("type", "object")
    return function(
        tool.name,
        description=tool.description,
        parameters=schema,
        strict=tool.strict,
        defer_loading=tool.defer_loading,
    )


def _tool_choice(body: Body) -> dict[str, Any]:
    choice = body.get("tool_choice", _Choice)
    if choice is None:
        return {}
    if choice.type == "tool" and choice.name:
        chat: dict[str, Any] = {"tool_choice": chosen(choice.name)}
    elif choice.type in _CHOICES:
        chat = {"tool_choice": _CHOICES[choice.type]}
    else:
        raise bad_request(f"`tool_choice` of type `{choice.type}` is unknown, or lacks a `name`.")
    return chat | ({"parallel_tool_calls": False} if choice.disable_parallel_tool_use else {})


def _thinking(body: Body) -> dict[str, Any]:
    """Thinking that is asked for opts into it, under the names that templates know. Its budget is a hint to
    them too: as a limit, engines started without a reasoning parser refuse it."""
    merged: dict[str, Any] = {}
    thinking = body.get("thinking", _Thinking)
    if thinking and thinking.type == "enabled":
        merged = {"enable_thinking": True, "thinking": True} | given(thinking_budget=thinking.budget_tokens)
    merged |= body.get("chat_template_kwargs", dict[str, msgspec.Raw]) or {}
    return {"chat_template_kwargs": merged} if merged else {}


def _output_config(body: Body) -> dict[str, Any]:
    """Effort and form of the answer. Thinking that is switched off outranks an effort."""
    config = body.get("output_config", _OutputConfig) or _OutputConfig()
    thinking = body.get("thinking", _Thinking)
    effort = "none" if thinking and thinking.type == "disabled" else config.effort
    form = config.format or body.get("output_format", _Format)
    return given(reasoning_effort=effort, response_format=form and _response_format(form))


def _response_format(form: _Format) -> dict[str, Any]:
    if form.type != "json_schema" or not bytes(form.schema).startswith(b"{"):
        raise bad_request(f"An output format of type `{form.type}` is not supported, or lacks a `schema`.")
    return {
        "type": "json_schema",
        "json_schema": {"name": "output", "schema": form.schema, "strict": True},
    }
