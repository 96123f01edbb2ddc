"""Tools of the Responses API, which a chat request knows only as functions.

As vLLM shows them to a model: the functions of a namespace under joined names, a ``custom`` tool, which takes
free text, as a function of one string. Answers are taken back to the names and the form the client knows.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from epp.wire.openai.responses import CUSTOM_PARAMETERS
from frontend.body import Body
from frontend.errors import bad_request
from frontend.translate.fields import chosen, function


class _Tool(msgspec.Struct, gc=False):
    type: str
    name: str | None = None
    description: str | None = None
    parameters: msgspec.Raw = msgspec.field(default_factory=msgspec.Raw)
    strict: bool | None = None
    defer_loading: bool | None = None
    tools: "list[_Tool] | None" = None


class _Choice(msgspec.Struct, gc=False):
    type: str
    name: str | None = None


class _CustomArguments(msgspec.Struct, gc=False):
    input: str


_CHOICE: Final[Any] = str | _Choice
_ARGUMENTS: Final = msgspec.json.Decoder(_CustomArguments)


@dataclass(slots=True)
class ToolNames:
    """What function names in an answer stand for, where that is not simply a function."""

    custom: set[str] = field(default_factory=set[str])
    """Custom tools."""
    namespaces: dict[str, tuple[str, str]] = field(default_factory=dict[str, tuple[str, str]])
    """Namespace and name of functions with joined names."""


def joined(namespace: str | None, name: str) -> str:
    """A function's name with its namespace."""
    return f"{namespace}__{name}" if namespace else name


def tool_fields(body: Body) -> tuple[dict[str, Any], ToolNames]:
    """``tools`` and ``tool_choice`` of the chat request, and how to read its answer. Raises ApiError (400)
    for tools that somebody else than the client would have to run."""
    names = ToolNames()
    tools = list(_functions(body.get("tools", list[_Tool]) or [], names))
    return ({"tools": tools} if tools else {}) | _tool_choice(body), names


def custom_input(arguments: str) -> str:
    """The free text in the arguments of a custom tool; what has not their form is taken for the text."""
    try:
        return _ARGUMENTS.decode(arguments).input
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return arguments


def _functions(tools: list[_Tool], names: ToolNames) -> Iterator[dict[str, Any]]:
    for tool in tools:
        if tool.type == "namespace":
            yield from _members(tool, names)
        elif tool.type == "custom":
            names.custom.add(_name(tool))
            yield function(_name(tool), description=tool.description, parameters=CUSTOM_PARAMETERS)
        else:
            yield _function(tool, _name(tool))


def _members(namespace: _Tool, names: ToolNames) -> Iterator[dict[str, Any]]:
    for tool in namespace.tools or ():
        known = joined(_name(namespace), _name(tool))
        names.namespaces[known] = (_name(namespace), _name(tool))
        yield _function(tool, known)


def _name(tool: _Tool) -> str:
    if not tool.name and tool.type in {"function", "custom", "namespace"}:
        raise bad_request(f"A tool of type `{tool.type}` needs a `name`.")
    return tool.name or ""


def _function(tool: _Tool, name: str) -> dict[str, Any]:
    if tool.type != "function":
        raise bad_request(f"A tool of type `{tool.type}` is not supported here; `function` and `custom` are.")
    return function(
        name,
        description=tool.description,
        parameters=tool.parameters if bytes(tool.parameters) not in {b"", b"null"} else None,
        strict=tool.strict,
        defer_loading=tool.defer_loading,
    )


def _tool_choice(body: Body) -> dict[str, Any]:
    choice: str | _Choice | None = body.get("tool_choice", _CHOICE)
    if choice is None:
        return {}
    if isinstance(choice, str):
        return {"tool_choice": choice}
    if choice.type not in {"function", "custom"} or not choice.name:
        raise bad_request(f"`tool_choice` of type `{choice.type}` is not supported here, or lacks a `name`.")
    return {"tool_choice": chosen(choice.name)}
