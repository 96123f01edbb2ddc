"""The sandbox chat templates run in: what ``transformers`` offers them, plus a limit on their time.

Names, filters and whitespace rules are those of ``transformers.apply_chat_template`` (5.x), because a
template is written against them: ``tojson`` is plain ``json.dumps`` without ASCII or HTML escaping,
``raise_exception`` and ``strftime_now`` exist, ``{% generation %}`` and ``{% break %}`` parse.

A template is synchronous code that nothing can interrupt from outside. So each loop, macro and call
block is compiled with a check at the head of its body, which raises once the render's deadline has
passed. What runs between two checks is one expression over the request's own data; the operators that
can make much from little (repetition and powers) are bounded here.
"""

import json
from contextvars import ContextVar
from datetime import datetime
from math import inf
from time import monotonic
from typing import Any, NoReturn

from jinja2 import Template, nodes, pass_context
from jinja2.exceptions import SecurityError, TemplateError
from jinja2.ext import Extension
from jinja2.ext import loopcontrols as loop_controls
from jinja2.parser import Parser
from jinja2.runtime import Context, Macro

from epp.tokenize.sandbox import QuickSandbox

_CHECK = "epp_check_deadline"  # a filter, because the sandbox inspects each call but trusts filters
_deadline_s: ContextVar[float] = ContextVar("deadline_s", default=inf)
_MAX_REPEATED = 1 << 20  # items or characters one repetition may make: far beyond any indentation
_MAX_POWER_BITS = 4096


class TemplateRefusedError(TemplateError):
    """The template itself called ``raise_exception``: the engine will refuse this prompt as well."""


class TemplateTimeoutError(TemplateError):
    """The render ran past its deadline."""


class _Generation(Extension):
    """``{% generation %}…{% endgeneration %}``: marks text for training; renders as its body."""

    tags = {"generation"}  # noqa: RUF012 -- jinja2 declares it so

    def parse(self, parser: Parser) -> nodes.Node:
        """Read the block as a call of ``_body``."""
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.CallBlock(self.call_method("_body"), [], [], body).set_lineno(line)

    def _body(self, caller: Macro) -> str:
        return caller()


class _MeteredSandbox(QuickSandbox):
    """An immutable sandbox whose compiled templates ask for permission in each loop."""

    intercepted_binops = frozenset({"*", "**"})

    def _generate(
        self, source: nodes.Template, name: str | None, filename: str | None, defer_init: bool = False
    ) -> str:
        for node in source.find_all((nodes.For, nodes.Macro, nodes.CallBlock)):
            assert isinstance(node, nodes.For | nodes.Macro | nodes.CallBlock)
            check = nodes.Filter(nodes.Const(None), _CHECK, [], [], None, None)
            node.body.insert(0, nodes.ExprStmt(check).set_lineno(node.lineno))
        return super()._generate(source, name, filename, defer_init)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Refuse a repetition or a power whose result would not fit into reasonable memory."""
        if operator == "*":
            _check_repetition(left, right)
            _check_repetition(right, left)
        elif isinstance(left, int) and isinstance(right, int) and left.bit_length() * right > _MAX_POWER_BITS:
            raise SecurityError(f"power too large: an exponent of {right}")
        return super().call_binop(context, operator, left, right)


def _check_repetition(sequence: Any, times: Any) -> None:
    if isinstance(sequence, str | list | tuple) and isinstance(times, int):
        size = len(sequence) * times  # pyright: ignore[reportUnknownArgumentType] -- list of whatever
        if size > _MAX_REPEATED:
            raise SecurityError(f"repetition too large: {size}")


@pass_context
def _check_deadline(_context: Context, _value: None) -> None:
    if monotonic() > _deadline_s.get():
        raise TemplateTimeoutError("the chat template ran too long")


def _raise_exception(message: str) -> NoReturn:
    raise TemplateRefusedError(message)


def _strftime_now(pattern: str) -> str:
    return datetime.now().strftime(pattern)  # noqa: DTZ005 -- engines print their local time


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | str | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )


def _sandbox() -> _MeteredSandbox:
    sandbox = _MeteredSandbox(trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loop_controls])
    filters: dict[str, Any] = {"tojson": _to_json, _CHECK: _check_deadline}
    sandbox.filters.update(filters)
    names: dict[str, Any] = {"raise_exception": _raise_exception, "strftime_now": _strftime_now}
    sandbox.globals.update(names)
    return sandbox


_SANDBOX = _sandbox()
_PROBE_LIMIT_S = 1.0


def compile_template(source: str) -> Template:
    """Compile a chat template; raises ``jinja2.TemplateSyntaxError``."""
    template = _SANDBOX.from_string(source)
    template.globals = dict(template.globals)  # it was a ChainMap, copied by each render in 5 µs
    return template


def parse_template(source: str) -> nodes.Template:
    """Syntax tree of a chat template, as written (without time checks)."""
    return _SANDBOX.parse(source)


def demands_leading_system(source: str) -> bool:
    """Whether a template refuses a system message beyond the first, as vLLM (0.32) finds out.

    It renders system, user, system, user in an environment without any of the names above. So a template
    that cannot do without them (``{% generation %}``, an unconditional ``strftime_now``) counts as refusing.
    """
    check: dict[str, Any] = {_CHECK: _check_deadline}
    bare = _MeteredSandbox(trim_blocks=True, lstrip_blocks=True, extensions=[loop_controls])
    bare.filters.update(check)
    turns = [{"role": "system", "content": "t"}, {"role": "user", "content": "t"}]
    variables = {"messages": turns * 2, "add_generation_prompt": False}
    try:
        render(bare.from_string(source), variables, _PROBE_LIMIT_S)
    except TemplateError:
        return True
    except Exception:  # noqa: BLE001 -- any other keeps vLLM from starting: there is nobody to agree with
        return False
    return False


def render(template: Template, variables: dict[str, Any], limit_s: float) -> str:
    """Run ``template`` for at most about ``limit_s`` seconds.

    Raises ``TemplateTimeoutError``, ``TemplateRefusedError``, or whatever the template's expressions
    raise over this data (it is foreign code: any exception is possible).
    """
    before = _deadline_s.set(monotonic() + limit_s)
    try:
        # not `render`, which rewrites the traceback of whatever fails
        return "".join(template.root_render_func(template.new_context(variables)))
    finally:
        _deadline_s.reset(before)
