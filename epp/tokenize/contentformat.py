"""Does a chat template take message content as text, or as a list of parts? Asked of its syntax tree.

Engines decide it once per template, and the answer changes the prompt: a template that loops over
``message.content`` is given ``[{"type": "text", "text": …}]`` even where the client sent a string, any
other template is given one string. The rules here reproduce vLLM's detection (0.32), including what it
overlooks, because agreeing with the engine is the point. In short: find the names bound to
``messages`` (or a slice or filter of it), the loop variables over those, then a loop over such a
variable's ``content``, over a macro parameter that receives it, or over a name ``content`` outside macros.
"""

from collections.abc import Iterable, Iterator
from enum import StrEnum

from jinja2 import nodes

from epp.tokenize.environment import parse_template


class ContentFormat(StrEnum):
    """Shape of ``message["content"]`` a template is given."""

    STRING = "string"
    PARTS = "openai"


def detect_content_format(source: str) -> ContentFormat:
    """Content format of a template; raises ``jinja2.TemplateSyntaxError``."""
    tree = parse_template(source)
    try:
        loops = _loops_over_content(tree)
    except _UnusualTargetError:
        return ContentFormat.STRING
    return ContentFormat.PARTS if loops else ContentFormat.STRING


class _UnusualTargetError(Exception):
    """A loop or assignment unpacks into several names: vLLM gives up there and takes "string"."""


def _loops_over_content(tree: nodes.Template) -> bool:
    messages = list(_aliases_of_messages(tree))
    message_names = list(_loop_variables(tree, messages))
    parameters = _macro_parameters_given_content(tree, message_names)
    for loop in tree.find_all(nodes.For):
        if any(_reaches(loop.iter, name, "content") for name in message_names):
            _name_of(loop.target)
            return True
        if not isinstance(loop.iter, nodes.Name):
            continue
        given = parameters.get(id(loop))
        if loop.iter.name in (("content",) if given is None else given):
            _name_of(loop.target)
            return True
    return False


def _aliases_of_messages(tree: nodes.Template) -> Iterator[str]:
    pending = ["messages"]
    seen: set[str] = set()
    while pending:
        name = pending.pop(0)
        if name in seen:
            continue
        seen.add(name)
        yield name
        assigns = (node for node in tree.find_all(nodes.Assign) if _reaches(node.node, name))
        pending.extend(_name_of(assign.target) for assign in assigns)


def _loop_variables(tree: nodes.Template, names: Iterable[str]) -> Iterator[str]:
    for loop in tree.find_all(nodes.For):
        if any(_reaches(loop.iter, name) for name in names):
            yield _name_of(loop.target)


def _macro_parameters_given_content(
    tree: nodes.Template, message_names: list[str]
) -> dict[int, frozenset[str]]:
    """For each loop inside a macro, the parameters of that macro that receive a message's content."""
    found: dict[int, frozenset[str]] = {}
    for macro in tree.find_all(nodes.Macro):
        given = frozenset(_arguments_with_content(tree, macro, message_names))
        for loop in macro.find_all(nodes.For):
            found[id(loop)] = given | found.get(id(loop), frozenset())
    return found


def _arguments_with_content(
    tree: nodes.Template, macro: nodes.Macro, message_names: list[str]
) -> Iterator[str]:
    parameters = [argument.name for argument in macro.args]
    for call in tree.find_all(nodes.Call):
        if not (isinstance(call.node, nodes.Name) and call.node.name == macro.name):
            continue
        positional = zip(parameters, call.args, strict=False)
        named = ((word.key, word.value) for word in call.kwargs)
        for name, value in (*positional, *named):
            if name in parameters and any(_reaches(value, message, "content") for message in message_names):
                yield name


def _reaches(node: nodes.Node, name: str, key: str | None = None) -> bool:
    """Whether an expression is ``name`` (or ``name[key]``), possibly filtered, tested or sliced."""
    if isinstance(node, nodes.Filter):
        return node.node is not None and _reaches(node.node, name, key)
    if isinstance(node, nodes.Test):
        return _reaches(node.node, name, key)
    if isinstance(node, nodes.Getitem):
        if isinstance(node.arg, nodes.Slice):
            return _reaches(node.node, name, key)
        constant = node.arg.value if isinstance(node.arg, nodes.Const) else None
        return key is not None and constant == key and _is_name(node.node, name)
    if isinstance(node, nodes.Getattr):
        return key is not None and node.attr == key and _is_name(node.node, name)
    return key is None and _is_name(node, name)


def _is_name(node: nodes.Node, name: str) -> bool:
    return isinstance(node, nodes.Name) and node.ctx == "load" and node.name == name


def _name_of(target: nodes.Node) -> str:
    if not isinstance(target, nodes.Name):
        raise _UnusualTargetError
    return target.name
