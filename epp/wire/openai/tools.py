"""Tools and tool calls as chat templates see them.

Templates print tools with ``tojson``, so the order of keys decides the tokens. The order here is the one
vLLM's models serialize in, whatever the client's was; ``description`` and ``parameters`` are printed even
when absent, ``strict`` and ``defer_loading`` only when given, unknown keys never.
"""

import json
from collections.abc import Sequence
from typing import Any, Final, cast

import msgspec

from epp.core.errors import BadRequestError

_CALL_KEYS: Final = ("id", "function", "type")
_FUNCTION_KEYS: Final = ("arguments", "name")


class Function(msgspec.Struct, gc=False):
    """A function a model may call; also the flat tool of the Responses API."""

    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None
    defer_loading: bool | None = None


class Tool(msgspec.Struct, gc=False):
    """One entry of ``tools`` in the chat form."""

    function: Function
    type: str = "function"
    defer_loading: bool | None = None


def tool_dicts(tools: Sequence[Tool] | None) -> list[dict[str, Any]] | None:
    """Tools of a chat request for the template. ``tool_choice`` changes nothing, ``none`` included: vLLM
    hides the tools then only if started with ``--exclude-tools-when-tool-choice-none``."""
    return [_tool(tool.function, tool.defer_loading) for tool in tools] if tools else None


def function_dicts(functions: Sequence[Function]) -> list[dict[str, Any]]:
    """Flat function tools for the template."""
    return [_tool(function, None) for function in functions]


def call_dicts(calls: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Tool calls of an assistant message for the template: arguments as objects, keys the API does not
    know (``index``, left over from streams) kept behind those it does."""
    return [_call(call) for call in calls]


def arguments_object(arguments: Any) -> dict[str, Any]:
    """Arguments as an object: templates iterate over them.

    Parsed by the standard library, as the engines do, so that numbers print the same. What is not an
    object becomes an empty one: it sits in a conversation's history and must not fail every later turn.
    """
    parsed = arguments
    if isinstance(arguments, str):
        try:
            parsed = json.loads(arguments)
        except (ValueError, RecursionError):
            return {}
    return cast("dict[str, Any]", parsed) if isinstance(parsed, dict) else {}


def _tool(function: Function, defer_loading: bool | None) -> dict[str, Any]:
    described: dict[str, Any] = {
        "name": function.name,
        "description": function.description,
        "parameters": function.parameters,
    }
    if function.strict is not None:
        described["strict"] = function.strict
    deferred = function.defer_loading if function.defer_loading is not None else defer_loading
    if deferred is not None:
        described["defer_loading"] = deferred
    tool: dict[str, Any] = {"type": "function", "function": described}
    if defer_loading is not None:
        tool["defer_loading"] = defer_loading
    return tool


def _call(call: dict[str, Any]) -> dict[str, Any]:
    sent: Any = call.get("function")
    function = cast("dict[str, Any]", sent) if isinstance(sent, dict) else {}
    if not isinstance(function.get("name"), str):
        raise BadRequestError("An entry of `tool_calls` needs a `function` with a `name`.")
    parsed = function | {"arguments": arguments_object(function.get("arguments"))}
    return _in_order(call | {"function": _in_order(parsed, _FUNCTION_KEYS)}, _CALL_KEYS)


def _in_order(given: dict[str, Any], first: tuple[str, ...]) -> dict[str, Any]:
    """``given`` with the keys of ``first`` in front, in that order."""
    return {key: given[key] for key in first if key in given} | given
