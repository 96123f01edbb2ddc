"""What a chat request says of tools: which there are, and whether one must, may or must not be called."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, TypeAlias

from epp.wire.openai.tools import Tool
from frontend.body import Body
from frontend.errors import bad_request

JsonDict: TypeAlias = dict[str, Any]


class Choice(StrEnum):
    """``tool_choice``."""

    NONE = "none"
    AUTO = "auto"
    REQUIRED = "required"
    NAMED = "named"


@dataclass(frozen=True, slots=True)
class ToolPlan:
    """A request's tools and what may be done with them."""

    choice: Choice = Choice.NONE
    tools: Mapping[str, JsonDict] = field(default_factory=dict[str, JsonDict])
    """JSON schema of the arguments by function name."""
    name: str = ""
    """The function to be called (``Choice.NAMED``)."""
    parallel: bool = True
    """False: at most one call."""

    def constraint(self) -> JsonDict | None:
        """The JSON schema the answer is held to; None: the model is free."""
        if self.choice is Choice.NAMED:
            return self.tools[self.name]
        return self._required() if self.choice is Choice.REQUIRED else None

    def _required(self) -> JsonDict:
        definitions: JsonDict = {}
        calls: list[JsonDict] = []
        for name, schema in self.tools.items():
            definitions |= schema.get("$defs", {})
            parameters = {key: value for key, value in schema.items() if key != "$defs"}
            named = {"type": "string", "enum": [name]}
            calls.append(
                {
                    "properties": {"name": named, "parameters": parameters},
                    "required": ["name", "parameters"],
                }
            )
        schema = {"type": "array", "minItems": 1, "items": {"type": "object", "anyOf": calls}}
        if not self.parallel:
            schema["maxItems"] = 1
        return schema | ({"$defs": definitions} if definitions else {})


_EMPTY: Final[JsonDict] = {"type": "object", "properties": {}}


def read_plan(body: Body) -> ToolPlan:
    """The plan of a chat body. Raises ApiError (400)."""
    tools = {tool.function.name: _schema(tool) for tool in body.get("tools", list[Tool]) or []}
    parallel = body.get("parallel_tool_calls", bool) is not False
    asked: Any = body.get("tool_choice", object)
    if asked is None:
        return ToolPlan(Choice.AUTO if tools else Choice.NONE, tools, parallel=parallel)
    if asked in ("none", "auto") or (asked == "required" and tools):
        return ToolPlan(Choice(asked) if tools else Choice.NONE, tools, parallel=parallel)
    if asked == "required":
        raise bad_request("`tool_choice` is `required`, but there are no `tools`.")
    return ToolPlan(Choice.NAMED, tools, _named(asked, tools), parallel=parallel)


def _named(asked: Any, tools: Mapping[str, JsonDict]) -> str:
    function: Any = asked.get("function") if isinstance(asked, dict) else None  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType] -- foreign JSON
    name: Any = function.get("name") if isinstance(function, dict) else None  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType] -- foreign JSON
    if not isinstance(name, str):
        raise bad_request("`tool_choice` must be `none`, `auto`, `required` or name a function.")
    if name not in tools:
        raise bad_request(f"`tool_choice` names the function `{name}`, which is not among the `tools`.")
    return name


def _schema(tool: Tool) -> JsonDict:
    parameters = tool.function.parameters
    return parameters or _EMPTY
