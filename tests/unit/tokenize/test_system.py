"""Several system messages in a Messages request: joined for templates that refuse them, as vLLM does."""

import json
from typing import Any

import pytest

from epp.core.requests import ChatPrompt
from epp.testing.vocab import template_names, template_text
from epp.tokenize.chat import ChatTemplates
from epp.tokenize.environment import demands_leading_system
from epp.wire.openai import parse_request

_LENIENT = "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}"
_STRICT = (
    "{% for m in messages %}{% if m.role == 'system' and not loop.first %}"
    "{{ raise_exception('System message must be at the beginning.') }}{% endif %}"
    "[{{ m.role }}]{{ m.content }}{% endfor %}"
)
_STRICT_PARTS = _STRICT.replace(
    "{{ m.content }}",
    "{% if m.content is string %}{{ m.content }}{% else %}"
    "{% for p in m.content %}<{{ p.text }}>{% endfor %}{% endif %}",
)
_BODY: dict[str, Any] = {
    "model": "m",
    "system": [{"type": "text", "text": "One."}],
    "messages": [
        {"role": "user", "content": "a"},
        {"role": "system", "content": [{"type": "text", "text": "Two."}, {"type": "text", "text": " 2"}]},
        {"role": "assistant", "content": "b"},
        {"role": "system", "content": "Three."},
        {"role": "user", "content": "c"},
    ],
}


def _messages_prompt(**changes: Any) -> ChatPrompt:
    prompt = parse_request("/v1/messages", json.dumps(_BODY | changes).encode()).prompt
    assert isinstance(prompt, ChatPrompt)
    return prompt


def _text(sources: str | dict[str, str], prompt: ChatPrompt) -> str:
    named = {"default": sources} if isinstance(sources, str) else sources
    return ChatTemplates(named, {}).render(prompt, 5.0).text


@pytest.mark.parametrize(
    ("source", "text"),
    [
        (_LENIENT, "[system]One.[user]a[system]Two. 2[assistant]b[system]Three.[user]c"),
        (_STRICT, "[system]One.Two. 2Three.[user]a[assistant]b[user]c"),
        (_STRICT_PARTS, "[system]<One.Two. 2Three.>[user]<a>[assistant]<b>[user]<c>"),
    ],
)
def test_system_messages_are_joined_where_the_template_wants_one(source: str, text: str) -> None:
    prompt = _messages_prompt()
    before = json.dumps(prompt.messages)
    assert _text(source, prompt) == text
    assert json.dumps(prompt.messages) == before


def test_the_only_system_message_moves_to_the_front() -> None:
    assert _text(_STRICT, _messages_prompt(system=None, messages=_BODY["messages"][:3])) == (
        "[system]Two. 2[user]a[assistant]b"
    )
    assert _text(_STRICT, _messages_prompt(messages=_BODY["messages"][:1])) == "[system]One.[user]a"
    assert _text(_STRICT, _messages_prompt(system=None, messages=_BODY["messages"][:1])) == "[user]a"


def test_both_templates_of_a_model_are_asked_once_for_all_its_requests() -> None:
    prompt = _messages_prompt()
    assert _text({"default": _LENIENT, "tool_use": _STRICT}, prompt).startswith("[system]One.Two. 2Three.")
    assert _text({"default": _LENIENT, "rag": _STRICT}, prompt) == _text(_LENIENT, prompt)


def test_other_apis_keep_their_system_messages_apart() -> None:
    messages = [{"role": "system", "content": "a"}, {"role": "system", "content": "b"}]
    body = json.dumps({"model": "m", "messages": messages}).encode()
    prompt = parse_request("/v1/chat/completions", body).prompt
    assert isinstance(prompt, ChatPrompt)
    assert _text({"default": _LENIENT, "tool_use": _STRICT}, prompt) == "[system]a[system]b"


@pytest.mark.parametrize(
    ("source", "refuses"),
    [
        (_LENIENT, False),
        (_STRICT, True),
        ("{% if messages[2].role == 'system' %}{{ raise_exception('no') }}{% endif %}", True),
        ("{{ strftime_now('%d') }}", True),
        ("{% if strftime_now is defined %}{{ strftime_now('%d') }}{% endif %}", False),
        ("{% generation %}x{% endgeneration %}", True),
        ("{{ messages[0].content + 1 }}", False),
    ],
)
def test_the_question_is_put_to_a_template_as_vllm_puts_it(source: str, refuses: bool) -> None:
    """Without the names transformers adds; an error that is not jinja's own would end vLLM's start."""
    assert demands_leading_system(source) is refuses


@pytest.mark.parametrize("name", template_names())
def test_every_family_renders_a_conversation_with_late_system_messages(name: str) -> None:
    source = template_text(name)
    if demands_leading_system(source):
        assert "Two. 2Three." in _text(source, _messages_prompt())
