"""What a chat completion says, whole or in pieces.

Form: OpenAI's ``chat.completion`` and ``chat.completion.chunk`` with the engines' additions: ``reasoning``
(vLLM) or ``reasoning_content`` (SGLang, older vLLM), ``stop_reason`` (vLLM) or ``matched_stop`` (SGLang) for
the stop string that ended the text, ``error`` in place of choices when generation failed.
"""

from dataclasses import dataclass, field
from typing import Any, Final, cast

import msgspec

from frontend.translate.extension import Extension


class CallFunction(msgspec.Struct, gc=False):
    """The function of a tool call, or the next piece of it."""

    name: str | None = None
    arguments: str | None = None


class ToolCall(msgspec.Struct, gc=False):
    """A tool call, or the next piece of it."""

    index: int | None = None
    """Which call of the message a piece belongs to; whole messages leave it out."""
    id: str | None = None
    function: CallFunction = msgspec.field(default_factory=CallFunction)


class Delta(msgspec.Struct, gc=False):
    """A message, or the next piece of it."""

    content: str | None = None
    reasoning: str | None = None
    reasoning_content: str | None = None
    refusal: str | None = None
    tool_calls: list[ToolCall] | None = None


class Choice(msgspec.Struct, gc=False):
    """One of the answers; only the first is ever asked for."""

    index: int = 0
    delta: Delta | None = None
    message: Delta | None = None
    finish_reason: str | None = None
    stop_reason: str | int | None = None
    matched_stop: str | int | None = None


class PromptDetails(msgspec.Struct, gc=False):
    """``prompt_tokens_details``."""

    cached_tokens: int | None = None


class OutputDetails(msgspec.Struct, gc=False):
    """``completion_tokens_details``."""

    reasoning_tokens: int | None = None


class Usage(msgspec.Struct, gc=False):
    """Tokens read and written."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: PromptDetails | None = None
    completion_tokens_details: OutputDetails | None = None

    @property
    def cached_tokens(self) -> int:
        """Prompt tokens the engine held already."""
        return (self.prompt_tokens_details and self.prompt_tokens_details.cached_tokens) or 0

    @property
    def reasoning_tokens(self) -> int:
        """Output tokens that were reasoning, if the engine counts them."""
        return (self.completion_tokens_details and self.completion_tokens_details.reasoning_tokens) or 0


class Chunk(msgspec.Struct, gc=False):
    """A whole completion or one chunk of a stream."""

    choices: list[Choice] = msgspec.field(default_factory=list[Choice])
    usage: Usage | None = None
    error: Any = None
    message: Any = None
    """An error's sentence, where no ``error`` object holds it."""
    nvext: msgspec.Raw = msgspec.field(default_factory=msgspec.Raw)


@dataclass(slots=True)
class Outcome:
    """How an answer ended."""

    finish_reason: str | None = None
    """``stop``, ``length``, ``tool_calls``, ``content_filter``; None: it did not (yet)."""
    stop: str | None = None
    """The stop string that was met."""
    usage: Usage = field(default_factory=Usage)
    extension: Extension = field(default_factory=Extension)
    """What this frontend adds to answers when asked to."""

    def note(self, chunk: Chunk, choice: Choice | None) -> None:
        """Take what ``chunk`` says of the end."""
        if chunk.usage is not None:
            self.usage = chunk.usage
        if bytes(chunk.nvext):
            self.extension.add(chunk.nvext)
        if choice is None or choice.finish_reason is None:
            return
        self.finish_reason = choice.finish_reason
        met = choice.stop_reason if choice.stop_reason is not None else choice.matched_stop
        self.stop = met if isinstance(met, str) else None


_DECODER: Final = msgspec.json.Decoder(Chunk)


def read_chunk(data: bytes) -> Chunk:
    """The completion or chunk in ``data``. Raises ValueError for anything else, and nothing but that."""
    try:
        return _DECODER.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError("no chat completion") from error


def first_choice(chunk: Chunk) -> Choice | None:
    """The choice with index 0."""
    return next((choice for choice in chunk.choices if choice.index == 0), None)


def error_message(told: Any) -> str:
    """The sentence in an error of whatever form an engine gives it; empty: there is none."""
    for _ in range(3):  # {"error": {"message": …}}, or less
        if isinstance(told, str):
            return told
        if not isinstance(told, dict):
            return ""
        fields = cast("dict[str, Any]", told)
        told = fields.get("message") or fields.get("error") or fields.get("detail")
    return ""


def error_status(told: Any, default: int) -> int:
    """The HTTP status in an error that came inside a stream."""
    if isinstance(told, dict):
        code = cast("dict[str, Any]", told).get("code")
        if isinstance(code, int) and 400 <= code < 600:
            return code
    return default
