"""Strings or parts: the same verdict as vLLM 0.32 for each way templates read content.

The expected values were computed with vLLM 0.32's ``_detect_content_format``.
"""

import pytest

from epp.testing.vocab import template_names, template_text
from epp.tokenize.contentformat import ContentFormat, detect_content_format

_OVER = "{% for p in LIST %}{{ p.text }}{% endfor %}"


def _inside(body: str, messages: str = "messages") -> str:
    """A template that does ``body`` for each message ``m``."""
    return f"{{% for m in {messages} %}}{body}{{% endfor %}}"


def _over(parts: str, messages: str = "messages") -> str:
    """A template that loops over ``parts`` for each message ``m``."""
    return _inside(_OVER.replace("LIST", parts), messages)


def _macro(parameter: str, argument: str) -> str:
    """A template with a macro that loops over its parameter, called for each message ``m``."""
    loop = _OVER.replace("LIST", parameter)
    return f"{{% macro show({parameter}) %}}{loop}{{% endmacro %}}" + _inside(f"{{{{ show({argument}) }}}}")


CASES = {
    "": "string",
    "{{ messages[0].content }}": "string",
    _inside("{{ m.content }}"): "string",
    _inside("{{ m['content'] | trim }}"): "string",
    _over("m.content"): "openai",
    _over("m['content']"): "openai",
    _over("m.content | selectattr('type', 'equalto', 'text')"): "openai",
    _over("m.content[1:]"): "openai",
    _over("m.tool_calls"): "string",
    _over("content"): "openai",
    _inside("{% set content = m.content %}" + _OVER.replace("LIST", "content")): "openai",
    _inside("{% set c = m.content %}" + _OVER.replace("LIST", "c")): "string",
    "{% set rest = messages[1:] %}" + _over("m.content", "rest"): "openai",
    "{% set a = messages %}{% set b = a[1:] %}" + _over("m.content", "b"): "openai",
    "{% set messages = messages[1:] %}" + _over("m.content"): "openai",
    _over("m.content", "messages[1:]"): "openai",
    _over("m.content", "messages | list"): "openai",
    _over("m.content", "other"): "string",
    "{% for i, m in messages | items %}" + _OVER.replace("LIST", "m.content") + "{% endfor %}": "string",
    _macro("c", "m.content"): "openai",
    _macro("c", "c=m.content"): "openai",
    _macro("c", "m.role"): "string",
    _macro("content", "m.role"): "string",
    "{% for p in content %}{% endfor %}": "openai",
}


@pytest.mark.parametrize("source", CASES)
def test_detected(source: str) -> None:
    assert detect_content_format(source) == ContentFormat(CASES[source])


def test_of_the_templates_we_carry() -> None:
    parts = {name for name in template_names() if detect_content_format(template_text(name)) == "openai"}
    assert parts == {"gemma"}
