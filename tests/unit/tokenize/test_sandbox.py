"""The short cuts of the sandbox against the sandbox without them."""

from functools import cache
from typing import Any

import pytest
from jinja2 import Template, Undefined
from jinja2.runtime import LoopContext
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace

from epp.tokenize.sandbox import QuickSandbox

_PLAIN = ImmutableSandboxedEnvironment()
_QUICK = QuickSandbox()


def _loop() -> LoopContext:
    loop = LoopContext([1, 2], Undefined)
    next(loop)
    return loop


class _Text(str):
    """Not quite a string."""

    __slots__ = ()


_OBJECTS: dict[str, Any] = {
    "dict": {"role": "user", "items": 1, "_x": 2, "__class__": 3, "format": 4},
    "empty dict": {},
    "str": "a b",
    "str subclass": _Text("a b"),
    "list": [1, 2],
    "tuple": (1,),
    "int": 7,
    "none": None,
    "set": {1},
    "loop": _loop(),
    "namespace": Namespace(role="user", _hidden=1, items=[]),
    "undefined": Undefined(name="gone"),
    "function": _loop,
}
_NAMES = sorted(
    {"role", "_x", "_hidden", "nope", "", "format", "format_map"}.union(*(dir(o) for o in _OBJECTS.values()))
)


_KEYS: tuple[Any, ...] = (*_NAMES, 0, -1, 9, None, (), [], 1.5, _Text("role"), True)


def _outcome(ask: Any, held: Any, name: Any) -> str:
    try:
        value = ask(held, name)
    except Exception as error:  # noqa: BLE001 -- the kind of failure is part of the answer
        return f"{type(error).__name__}: {error}"
    if isinstance(value, Undefined):
        try:
            str(value + "x")
        except Exception as error:  # noqa: BLE001 -- as above
            return f"undefined: {type(error).__name__}: {error}"
    return f"{type(value).__name__}: {getattr(value, '__name__', value)!r}"


@pytest.mark.parametrize("kind", _OBJECTS)
def test_the_short_cuts_give_the_answers_of_the_sandbox_itself(kind: str) -> None:
    held = _OBJECTS[kind]
    for name in _NAMES:
        assert _outcome(_QUICK.getattr, held, name) == _outcome(_PLAIN.getattr, held, name), name
    for key in _KEYS:
        assert _outcome(_QUICK.getitem, held, key) == _outcome(_PLAIN.getitem, held, key), key


@pytest.mark.parametrize("kind", _OBJECTS)
def test_look_ups_compiled_in_place_give_the_same_answers(kind: str) -> None:
    def rendered(held: object, template: Template) -> str:
        return template.render(o=held)

    for quick, plain in _look_ups():
        assert _outcome(rendered, _OBJECTS[kind], quick) == _outcome(rendered, _OBJECTS[kind], plain)


@cache
def _look_ups() -> list[tuple[Template, Template]]:
    sources = [f"{{{{ o[{name!r}] }}}}" for name in _NAMES]
    sources += [f"{{{{ o.{name} }}}}" for name in _NAMES if name.isidentifier()]
    return [(_QUICK.from_string(source), _PLAIN.from_string(source)) for source in sources]


def test_look_ups_in_macros_filters_conditions_and_nests() -> None:
    source = (
        "{% macro m(a, b=x.y.z) %}{{ a.y.z }}{{ b }}{{ a.y['nope'] is defined }}{% endmacro %}"
        "{% for each in xs if each.y.z %}{{ each.y.z ~ loop.first ~ m(each) }}{% else %}none{% endfor %}"
        "{% set n = namespace(found=x['y'].z) %}{% for y in xs %}{% set n.found = n.found ~ y['y']['z'] %}"
        "{% endfor %}{{ n.found }}{{ xs | map(attribute='y.z') | list }}{{ (x.y if x.y.z else x).z }}"
        "{% call(z) w(1) %}{{ z.y.z }}{% endcall %}"
    ).replace("{% call", "{% macro w(n) %}{{ caller(x) }}{{ n }}{% endmacro %}{% call")
    variables = {"x": {"y": {"z": "1"}}, "xs": [{"y": {"z": "2"}}, {"y": {}}]}
    text = _PLAIN.from_string(source).render(variables)
    assert text.startswith("2True21False")
    assert _QUICK.from_string(source).render(variables) == text


def test_macros_that_read_more_than_their_parameters() -> None:
    source = (
        "{% macro all(a) %}{{ a }}{{ varargs }}{{ kwargs }}{% endmacro %}{{ all(1) }}{{ all(1, 2, c=3) }}"
        "{% macro around(a, caller=none) %}{{ a }}{{ caller is none }}{% endmacro %}"
        "{{ around(1) }}{{ around(1, none) }}{% call around(1) %}x{% endcall %}"
    )
    assert _QUICK.from_string(source).render() == _PLAIN.from_string(source).render()


def test_calls_of_macros_and_methods_in_loops() -> None:
    source = (
        "{% macro m(a, b='-') %}<{{ a }}{{ b }}>{% endmacro %}"
        "{% for x in xs %}{{ m(x) }}{{ m(x, b='+') }}{{ x.replace('a', 'c') }}{{ x.split(sep='b') }}"
        "{{ '{}'.format(x) }}{{ m(*[x]) }}{% endfor %}"
    )
    text = _PLAIN.from_string(source).render(xs=["ab"])
    assert text == "<ab-><ab+>cb['a', '']ab<ab->"
    assert _QUICK.from_string(source).render(xs=["ab"]) == text
    for call in ("m(1, 2, 3)", "m(c=1)", "''.join()"):
        with pytest.raises(TypeError):
            _QUICK.from_string(source + "{{ " + call + " }}").render(xs=[])
