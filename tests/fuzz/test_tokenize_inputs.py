"""Foreign data around tokenization: model files, conversations and texts of any shape."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from epp.core.requests import ChatPrompt
from epp.testing.vocab import template_names, template_text
from epp.tokenize.chat import ChatTemplates
from epp.tokenize.contentformat import detect_content_format
from epp.tokenize.errors import LoadError, PromptError
from epp.tokenize.files import read_model_folder

_SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8)
_JSON: st.SearchStrategy[Any] = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
)
_CONFIG_KEYS = st.sampled_from(
    [
        "added_tokens_decoder",
        "chat_template",
        "bos_token",
        "eos_token",
        "added_tokens",
        "model",
        "normalizer",
        "x",
    ]
)
_FILES = st.dictionaries(
    st.sampled_from(
        [
            "tokenizer.json",
            "tokenizer_config.json",
            "special_tokens_map.json",
            "added_tokens.json",
            "chat_template.json",
        ]
    ),
    (st.dictionaries(_CONFIG_KEYS, _JSON) | _JSON).map(lambda value: json.dumps(value).encode())
    | st.binary(max_size=20),
)


@settings(deadline=None)
@given(_FILES)
def test_model_files_are_read_or_refused(files: dict[str, bytes]) -> None:
    with TemporaryDirectory() as folder:
        for name, content in files.items():
            Path(folder, name).write_bytes(content)
        try:
            read = read_model_folder(Path(folder))
        except LoadError:
            return
        assert isinstance(read.tokenizer, dict)


_ROLES = st.sampled_from(["user", "assistant", "system", "tool", "developer"]) | _SCALARS
_PART = st.fixed_dictionaries(
    {"type": st.sampled_from(["text", "image_url", "tool_reference"]) | _SCALARS},
    optional={"text": _JSON, "name": _JSON},
)
_MESSAGE = st.fixed_dictionaries(
    {},
    optional={
        "role": _ROLES,
        "content": st.text(max_size=20) | st.lists(_PART | _JSON, max_size=3) | _JSON,
        "tool_calls": st.lists(st.fixed_dictionaries({"function": _JSON}), max_size=2) | _JSON,
        "reasoning": _JSON,
        "name": _JSON,
    },
)
_TEMPLATES = [
    ChatTemplates({"default": template_text(name)}, {"bos_token": "<s>", "eos_token": "</s>"})
    for name in template_names()
]


@settings(deadline=None)
@given(
    st.sampled_from(_TEMPLATES),
    st.lists(_MESSAGE | _JSON, max_size=4),
    _JSON,
    st.dictionaries(st.text(max_size=8), _JSON, max_size=2),
    st.booleans(),
    st.booleans(),
)
def test_conversations_are_rendered_or_refused(
    templates: ChatTemplates,
    messages: Any,
    tools: Any,
    kwargs: dict[str, Any],
    multimodal: bool,
    continued: bool,
) -> None:
    prompt = ChatPrompt(
        messages,
        tools=tools,
        template_kwargs=kwargs,
        multimodal=multimodal,
        continue_final_message=continued,
        add_generation_prompt=not continued,
    )
    try:
        rendered = templates.render(prompt, 2.0)
    except PromptError:
        return
    assert rendered.exact_chars is None or 0 <= rendered.exact_chars <= len(rendered.text)


_FRAGMENTS = st.sampled_from(
    [
        *("{% for m in messages %}", "{% endfor %}", "{{ m.content }}", "{% if x %}", "{% endif %}"),
        *("{% set a = messages %}", "{% for p in m.content %}", "{% macro f(c) %}", "{% endmacro %}"),
        *("{{ f(m.content) }}", "{% for a, b in messages %}", "{% generation %}", "{% endgeneration %}"),
        *("{# c #}", "text", "{{", "%}", "{% break %}", "{{ 'a' * 3 }}"),
    ]
)


@settings(deadline=None)
@given(st.lists(_FRAGMENTS, max_size=12).map("".join) | st.text(max_size=40))
def test_template_sources_compile_or_are_refused(source: str) -> None:
    try:
        ChatTemplates({"default": source}, {})
    except LoadError:
        return
    assert detect_content_format(source) in {"string", "openai"}
