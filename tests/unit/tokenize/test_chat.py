"""The text and the ids of a conversation are those of transformers, for templates of every family's style."""

from array import array
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
from transformers import PreTrainedTokenizerFast

from epp.core.requests import ChatPrompt
from epp.core.tokens import Exactness
from epp.testing.vocab import Kind, template_names, template_text
from epp.tokenize.chat import ChatTemplates
from epp.tokenize.contentformat import detect_content_format
from epp.tokenize.conversation import conversation_for_template
from epp.tokenize.errors import LoadError, PromptError, Reason
from epp.tokenize.files import read_model_folder
from epp.tokenize.model import LoadedModel
from tests.unit.tokenize.conftest import ModelDir
from tests.unit.tokenize.corpus import CONVERSATIONS, TOOLS, Messages
from tests.unit.tokenize.support import running_service

_OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "tools": {"tools": TOOLS, "enable_thinking": False},
    "no generation prompt": {"add_generation_prompt": False, "date_string": "1 January 2030"},
    "thinking": {"thinking": True, "enable_thinking": True},
    "continued": {"add_generation_prompt": False, "continue_final_message": True},
}


@cache
def _reference(folder: str) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast.from_pretrained(folder)


_format = cache(detect_content_format)


def _for_template(source: str, messages: Messages) -> Messages:
    developer = '"developer"' in source or "'developer'" in source
    return conversation_for_template(messages, _format(source), knows_developer=developer)


def _prompt(messages: Messages, options: dict[str, Any]) -> ChatPrompt:
    fields = {"tools", "add_generation_prompt", "continue_final_message"}
    return ChatPrompt(
        messages,
        template_kwargs={key: value for key, value in options.items() if key not in fields},
        **{key: value for key, value in options.items() if key in fields},
    )


def _expected_text(
    reference: PreTrainedTokenizerFast, source: str, messages: Messages, options: dict[str, Any]
) -> str | None:
    arguments = {"add_generation_prompt": True, **options}
    try:
        text = reference.apply_chat_template(
            _for_template(source, messages), chat_template=source, tokenize=False, **arguments
        )
    except Exception:  # noqa: BLE001 -- whatever a template raises
        return None
    assert isinstance(text, str)
    return text


@pytest.mark.parametrize("options", _OPTIONS, ids=str)
@pytest.mark.parametrize("name", template_names())
def test_text_is_that_of_transformers(model_dir: ModelDir, name: str, options: str) -> None:
    folder = model_dir("tekken")
    source = template_text(name)
    templates = ChatTemplates({"default": source}, read_model_folder(folder).special_tokens)
    rendered = 0
    for title, messages in CONVERSATIONS.items():
        expected = _expected_text(_reference(str(folder)), source, messages, _OPTIONS[options])
        prompt = _prompt(messages, _OPTIONS[options])
        if expected is None:
            with pytest.raises(PromptError):
                templates.render(prompt, 5.0)
            continue
        rendered += 1
        assert templates.render(prompt, 5.0).text == expected, title
    assert rendered >= len(CONVERSATIONS) // 2


@pytest.mark.parametrize("kind", ["qwen", "tekken"])
@pytest.mark.parametrize("name", template_names())
async def test_ids_are_those_of_transformers(
    model_dir: ModelDir, loaded: Callable[[Kind], LoadedModel], kind: Kind, name: str
) -> None:
    source, reference = template_text(name), _reference(str(model_dir(kind)))
    special_tokens = read_model_folder(model_dir(kind)).special_tokens
    model = replace(loaded(kind), templates=ChatTemplates({"default": source}, special_tokens))
    async with running_service(model) as service:
        for title, messages in CONVERSATIONS.items():
            got = await service.tokenize("m", ChatPrompt(messages))
            expected = _expected_text(reference, source, messages, {})
            if expected is None:
                assert got.exactness is Exactness.NONE, title
                continue
            ids = reference(expected, add_special_tokens=False)["input_ids"]
            assert list(array("I", got.tokens)) == ids, title
            assert (got.exactness, got.degraded, got.prompt_tokens) == (Exactness.EXACT, None, len(ids))


def _render(source: str | dict[str, str], prompt: ChatPrompt) -> str:
    sources = {"default": source} if isinstance(source, str) else source
    return ChatTemplates(sources, {"bos_token": "<s>"}).render(prompt, 5.0).text


def test_tool_use_is_chosen_when_tools_are_given() -> None:
    sources = {"default": "plain", "tool_use": "tools", "rag": "documents"}
    messages = [{"role": "user", "content": "x"}]
    assert _render(sources, ChatPrompt(messages)) == "plain"
    assert _render(sources, ChatPrompt(messages, tools=TOOLS)) == "tools"
    assert _render(sources, ChatPrompt(messages, template="rag")) == "documents"
    with pytest.raises(PromptError) as caught:
        _render(sources, ChatPrompt(messages, template="other"))
    assert caught.value.reason is Reason.NO_TEMPLATE


def test_request_variables_reach_the_template_but_cannot_replace_the_messages() -> None:
    source = "{{ bos_token }}{{ documents[0].title }}{{ flag }}{{ messages[0].content }}"
    prompt = ChatPrompt(
        [{"role": "user", "content": "hi"}],
        documents=[{"title": "doc"}],
        template_kwargs={"flag": 7, "messages": "mine", "bos_token": "[B]"},
    )
    assert _render(source, prompt) == "[B]doc7hi"


def test_a_refusing_template_and_a_failing_one_are_told_apart() -> None:
    prompt = ChatPrompt([{"role": "user", "content": "x"}])
    for source, reason in (
        ("{{ raise_exception('no') }}", Reason.TEMPLATE_REFUSED),
        ("{{ messages[0].nothing.more }}", Reason.TEMPLATE_ERROR),
        ("{{ 1 / 0 }}", Reason.TEMPLATE_ERROR),
        ("{% macro again() %}{{ again() }}{% endmacro %}{{ again() }}", Reason.TEMPLATE_ERROR),
    ):
        with pytest.raises(PromptError) as caught:
            _render(source, prompt)
        assert caught.value.reason is reason, source


def test_messages_of_any_shape_are_an_error_of_the_prompt() -> None:
    for messages in ([], [{}], [{"role": "user"}], [{"role": "user", "content": 3}], ["text"], [None]):
        with pytest.raises(PromptError):
            _render("{% for m in messages %}{{ m.content }}{% endfor %}", ChatPrompt(messages))  # type: ignore[arg-type]


def test_a_template_that_does_not_parse_is_an_error_of_the_model() -> None:
    with pytest.raises(LoadError, match=r"default.*line 2"):
        ChatTemplates({"default": "ok\n{% for x in %}"}, {})


_IMAGE = {"type": "image_url"}
_PARTS = (
    "{% for m in messages %}[{{ m.role }}]{% for p in m.content %}"
    "{% if p.type == 'text' %}{{ p.text }}{% else %}<{{ p.type }}>{% endif %}{% endfor %}{% endfor %}"
)
_STRINGS = "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}"


@pytest.mark.parametrize(
    ("source", "content", "exact"),
    [
        (
            _PARTS,
            [{"type": "text", "text": "look:"}, _IMAGE, {"type": "text", "text": "?"}],
            "[system]Be brief.[user]look:",
        ),
        (_PARTS, [_IMAGE, {"type": "text", "text": "?"}], "[system]Be brief.[user]"),
        (_STRINGS, [{"type": "text", "text": "look:"}, _IMAGE], "[system]Be brief.[user]"),
        ("no content is ever read: {{ messages | length }}", [_IMAGE], ""),
    ],
)
def test_text_before_the_first_image_is_exact(source: str, content: list[Any], exact: str) -> None:
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": content}]
    rendered = ChatTemplates({"default": source}, {}).render(ChatPrompt(messages, multimodal=True), 5.0)
    assert rendered.exact_chars is not None
    assert rendered.text[: rendered.exact_chars] == exact


_TEXT_OR_IMAGE = (
    "{% for m in messages %}[{{ m.role }}]{% for p in m.content %}{% if p.type == 'text' %}{{ p.text }}"
    "{% elif p.type in ('image', 'video') %}<{{ p.type }}>{% else %}{{ raise_exception('what?') }}{% endif %}"
    "{% endfor %}{% endfor %}"
)


@pytest.mark.parametrize("kind", ["file", "video_embeds", "web_search_call", "unknown", "text?"])
@pytest.mark.parametrize("source", [_TEXT_OR_IMAGE, _STRINGS])
def test_parts_of_a_kind_no_template_knows_end_what_is_matched_and_no_more(source: str, kind: str) -> None:
    system = {"role": "system", "content": "Be brief."}
    content = [{"type": kind}, {"type": "text", "text": "?"}, {"type": kind}]
    prompt = ChatPrompt([system, {"role": "user", "content": content}], multimodal=True)
    rendered = ChatTemplates({"default": source}, {}).render(prompt, 5.0)
    assert rendered.exact_chars is not None
    assert rendered.text[: rendered.exact_chars] == "[system]Be brief.[user]"


def test_a_prompt_flagged_multimodal_without_media_is_rendered_whole() -> None:
    prompt = ChatPrompt([{"role": "user", "content": [{"type": "text", "text": "hi"}]}], multimodal=True)
    rendered = ChatTemplates({"default": _PARTS}, {}).render(prompt, 5.0)
    assert (rendered.text, rendered.exact_chars) == ("[user]hi", None)
