"""A conversation and a model's chat templates → the text the engine tokenizes.

Choosing among named templates, the variables a template sees and the treatment of
``continue_final_message`` follow ``transformers.apply_chat_template``; the tests compare with it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jinja2 import Template, TemplateSyntaxError
from msgspec import Struct

from epp.core.requests import ChatPrompt
from epp.tokenize.contentformat import ContentFormat, detect_content_format
from epp.tokenize.conversation import MediaMark, Message, conversation_for_template, join_system
from epp.tokenize.environment import (
    TemplateRefusedError,
    TemplateTimeoutError,
    compile_template,
    demands_leading_system,
    render,
)
from epp.tokenize.errors import LoadError, PromptError, Reason

_CONTINUE_MARK = (
    "CONTINUE_FINAL_MESSAGE_TAG "  # the word transformers uses: a template may look at its length
)
_MEDIA_MARK = "\ue000epp-first-media-part\ue001"  # private-use characters keep it from meeting user text


class Rendered(Struct, frozen=True):
    """A conversation as text."""

    text: str
    exact_chars: int | None = None
    """None: all of ``text`` is what the engine renders; else only so many characters from its start."""


@dataclass(frozen=True, slots=True)
class _ChatTemplate:
    source: str
    compiled: Template
    content_format: ContentFormat
    knows_developer: bool


class ChatTemplates:
    """The chat templates of one model, compiled.

    ``sources`` maps template names to their text (``default``, ``tool_use``, …); ``special_tokens`` are the
    variables ``bos_token``, ``eos_token`` and so on. Raises ``LoadError`` for a template that does not parse.
    """

    def __init__(self, sources: Mapping[str, str], special_tokens: Mapping[str, str]) -> None:
        self._templates = {name: _compile(name, source) for name, source in sources.items()}
        self._special_tokens = dict(special_tokens)
        self._one_system = _demands_one_system(self._templates)

    def __bool__(self) -> bool:
        return bool(self._templates)

    def render(self, prompt: ChatPrompt, limit_s: float) -> Rendered:
        """Text of ``prompt`` within about ``limit_s`` seconds. Raises ``PromptError``."""
        template = self._choose(prompt)
        if not prompt.messages:
            raise PromptError(Reason.TEMPLATE_REFUSED, "no messages")
        try:
            if prompt.multimodal:
                return self._render_multimodal(template, prompt, limit_s)
            messages = self._conversation(template, prompt, None)
            return Rendered(self._render(template, prompt, messages, limit_s))
        except (PromptError, TemplateTimeoutError, TemplateRefusedError) as error:
            raise _as_prompt_error(error) from error
        except Exception as error:  # a template is foreign code over foreign data: it can raise anything
            raise PromptError(Reason.TEMPLATE_ERROR, f"{type(error).__name__}: {error}") from error

    def _choose(self, prompt: ChatPrompt) -> _ChatTemplate:
        if prompt.template is not None:
            name = prompt.template
        else:
            name = "tool_use" if prompt.tools is not None and "tool_use" in self._templates else "default"
        template = self._templates.get(name)
        if template is None:
            raise PromptError(Reason.NO_TEMPLATE, f"no chat template called {name}")
        return template

    def _conversation(
        self, template: _ChatTemplate, prompt: ChatPrompt, mark: MediaMark | None
    ) -> list[Message]:
        return conversation_for_template(
            join_system(prompt.messages) if prompt.joins_system and self._one_system else prompt.messages,
            template.content_format,
            knows_developer=template.knows_developer,
            mark=mark,
        )

    def _render(
        self, template: _ChatTemplate, prompt: ChatPrompt, messages: list[Message], limit_s: float
    ) -> str:
        final = _mark_final_message(template, prompt, messages) if prompt.continue_final_message else None
        text = render(template.compiled, self._variables(prompt, messages), limit_s)
        return text if final is None else _cut_at_mark(text, final)

    def _variables(self, prompt: ChatPrompt, messages: list[Message]) -> dict[str, Any]:
        variables: dict[str, Any] = {
            "tools": None,
            "documents": None,
            **self._special_tokens,
            **prompt.template_kwargs,
        }
        if prompt.tools is not None:
            variables["tools"] = prompt.tools
        if prompt.documents is not None:
            variables["documents"] = prompt.documents
        variables["messages"] = messages
        variables["add_generation_prompt"] = prompt.add_generation_prompt
        return variables

    def _render_multimodal(self, template: _ChatTemplate, prompt: ChatPrompt, limit_s: float) -> Rendered:
        """Render up to the first non-text part: what stands there is the engine's secret.

        Rendered twice, with a mark in its place and with the part itself: what both agree on before
        the mark does not depend on it.
        """
        mark = MediaMark(_MEDIA_MARK)
        marked_messages = self._conversation(template, prompt, mark)
        plain = self._render(template, prompt, self._conversation(template, prompt, None), limit_s)
        if not mark.placed:
            return Rendered(plain)
        marked = self._render(template, prompt, marked_messages, limit_s)
        before = marked.partition(_MEDIA_MARK)[0] if _MEDIA_MARK in marked else ""
        return Rendered(plain, exact_chars=_common_length(before, plain))


def _common_length(one: str, other: str) -> int:
    """Length of the common prefix, found by halving."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[:middle] == other[:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _compile(name: str, source: str) -> _ChatTemplate:
    try:
        return _ChatTemplate(
            source,
            compile_template(source),
            detect_content_format(source),
            '"developer"' in source or "'developer'" in source,
        )
    except TemplateSyntaxError as error:
        raise LoadError(f"chat template {name!r} does not parse, line {error.lineno}: {error}") from error
    except Exception as error:  # the template becomes Python, whose compiler has limits of its own
        raise LoadError(f"chat template {name!r} does not compile: {error!r}") from error


def _demands_one_system(templates: Mapping[str, _ChatTemplate]) -> bool:
    """Whether system messages are joined: decided once for a model, by both templates vLLM may choose."""
    default = templates.get("default")
    chosen = (default, templates.get("tool_use", default))
    return any(template is None or demands_leading_system(template.source) for template in chosen)


def _as_prompt_error(error: Exception) -> PromptError:
    if isinstance(error, PromptError):
        return error
    timed_out = isinstance(error, TemplateTimeoutError)
    return PromptError(Reason.TEMPLATE_TIMEOUT if timed_out else Reason.TEMPLATE_REFUSED, str(error))


def _mark_final_message(template: _ChatTemplate, prompt: ChatPrompt, messages: list[Message]) -> str:
    """Append the mark to the text to be continued; returns that text."""
    if prompt.add_generation_prompt:
        raise PromptError(Reason.TEMPLATE_REFUSED, "continue_final_message with add_generation_prompt")
    message = messages[-1]
    content: Any = message["content"]
    if "content" not in template.source:
        raise PromptError(Reason.TEMPLATE_REFUSED, "the template does not read content")
    if isinstance(content, str):
        message["content"] = content + _CONTINUE_MARK
        return content
    for part in reversed(content):
        if "text" in part:
            final: str = part["text"]
            part["text"] = final + _CONTINUE_MARK
            return final
    raise PromptError(Reason.TEMPLATE_REFUSED, "no text to continue in the final message")


def _cut_at_mark(text: str, final: str) -> str:
    """Text up to the mark: nothing after the final message, not even spaces the template trimmed."""
    at = text.rfind(_CONTINUE_MARK.strip())
    if at < 0 or final.strip() not in text:
        raise PromptError(Reason.TEMPLATE_REFUSED, "the final message does not appear in the prompt")
    if text.startswith(_CONTINUE_MARK, at):
        return text[:at]
    return text[:at].rstrip()
