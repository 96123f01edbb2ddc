"""The sandbox of chat templates: what it offers, and what it stops."""

import json
from datetime import datetime
from typing import Any

import pytest
from jinja2 import TemplateError
from jinja2.exceptions import SecurityError
from transformers.utils.chat_template_utils import render_jinja_template

from epp.tokenize.environment import (
    TemplateRefusedError,
    TemplateTimeoutError,
    compile_template,
    render,
)


def _run(source: str, limit_s: float = 5.0, **variables: Any) -> str:
    return render(compile_template(source), variables, limit_s)


@pytest.mark.parametrize(
    "source",
    [
        "{% for a in x %}{% for b in x %}{% for c in x %}{% endfor %}{% endfor %}{% endfor %}",
        "{% macro m(n) %}{{ m(n - 1) if n }}{{ m(n - 1) if n }}{% endmacro %}{{ m(40) }}",
        "{% macro m() %}{{ caller() }}{% endmacro %}{% for a in x %}{% call m() %}a{% endcall %}{% endfor %}",
        "{% for a in x recursive %}{{ loop(x) if loop.depth < 4 }}{% endfor %}",
        "{% for a in x %}{% generation %}{% for b in x %}{% endfor %}{% endgeneration %}{% endfor %}",
    ],
)
def test_no_loop_outlives_the_deadline(source: str) -> None:
    with pytest.raises(TemplateTimeoutError):
        _run(source, limit_s=0.02, x=range(90_000))


def test_the_deadline_is_of_one_render_only() -> None:
    template = compile_template("{% for a in x %}{{ a }}{% endfor %}")
    with pytest.raises(TemplateTimeoutError):
        render(template, {"x": [1]}, -1.0)
    assert render(template, {"x": [1, 2]}, 5.0) == "12"


@pytest.mark.parametrize(
    "source",
    [
        "{{ 'a' * 99999999 }}",
        "{{ 99999999 * 'a' }}",
        "{{ [1] * 99999999 }}",
        "{{ 10 ** 99999999 }}",
        "{{ x.append(1) }}",
        "{{ x.__class__.__mro__ }}",
        "{{ range(999999999) | list }}",
    ],
)
def test_what_could_hurt_is_refused(source: str) -> None:
    with pytest.raises((SecurityError, OverflowError)):
        _run(source, x=[])


def test_ordinary_arithmetic_works() -> None:
    assert _run("{{ '-' * 3 }}{{ 2 * 'ab' }}{{ 3 * 4 }}{{ 2 ** 10 }}{{ [0] * 2 }}") == "---abab121024[0, 0]"


def test_names_templates_rely_on() -> None:
    assert _run("{% generation %}a{{ 1 }}{% endgeneration %}") == "a1"
    assert _run("{% for a in [1, 2, 3] %}{% if a == 2 %}{% break %}{% endif %}{{ a }}{% endfor %}") == "1"
    assert _run("{{ strftime_now('%Y') }}") in {str(datetime.now().year), str(datetime.now().year - 1)}  # noqa: DTZ005
    with pytest.raises(TemplateRefusedError, match="because"):
        _run("{{ raise_exception('because') }}")


@pytest.mark.parametrize(
    "arguments", ["", "indent=4", "ensure_ascii=true", "sort_keys=true", "separators=(',', ':')"]
)
def test_tojson_is_that_of_transformers(arguments: str) -> None:
    source = f"{{{{ messages[0].x | tojson({arguments}) }}}}"
    value = {"b": ["é", "<&'>", None, True, 1.5, 10**20], "a": {"\u2028": "\n"}}
    [expected], _ = render_jinja_template([[{"role": "user", "x": value}]], chat_template=source)
    assert _run(source, messages=[{"x": value}]) == expected
    assert json.loads(expected) == value


def test_blocks_leave_no_white_space() -> None:
    source = "a\n  {% if true %}\n  b\n  {% endif %}\nc"
    [expected], _ = render_jinja_template([[{"role": "user"}]], chat_template=source)
    assert _run(source) == expected == "a\n  b\nc"


def test_undefined_names_are_empty_and_their_attributes_fail() -> None:
    assert _run("[{{ nothing }}]") == "[]"
    with pytest.raises(TemplateError):
        _run("{{ nothing.more }}")
