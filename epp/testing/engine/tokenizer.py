"""The engine's own tokenization, independent of the picker's.

With a model folder it is what vLLM itself uses: ``transformers`` renders the chat template and HF
``tokenizers`` encodes. Without one, a byte is a token, so that tests need no model.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, cast

from epp.testing.engine.ids import TokenIds, ids

JsonObject = Mapping[str, Any]


class PromptError(ValueError):
    """The prompt cannot be rendered; the message is fit for the client."""


class EngineTokenizer(Protocol):
    """Prompts to ids and ids to text."""

    def encode(self, text: str, *, special: bool) -> TokenIds:
        """Ids of ``text``; ``special`` adds what the model's tokenizer adds (a BOS, say)."""
        ...

    def chat(self, messages: Sequence[JsonObject], options: JsonObject) -> str:
        """The prompt text of a conversation; ``options`` go to the template. Raises PromptError."""
        ...

    def text(self, token: int) -> str:
        """Text of one token."""
        ...


class ByteTokenizer:
    """UTF-8 bytes as ids, shifted by 3; a chat is its messages between ``<role>`` marks."""

    _SHIFT = 3

    def encode(self, text: str, *, special: bool) -> TokenIds:
        """See EngineTokenizer; the special token is id 1, first."""
        return ids([1] * special + [byte + self._SHIFT for byte in text.encode()])

    def chat(self, messages: Sequence[JsonObject], options: JsonObject) -> str:
        """See EngineTokenizer."""
        body = "".join(f"<{message.get('role', '')}>{message.get('content', '')}\n" for message in messages)
        return body + ("<assistant>" if options.get("add_generation_prompt", True) else "")

    def text(self, token: int) -> str:
        """See EngineTokenizer; a byte that is no character by itself becomes the replacement character."""
        return bytes([token - self._SHIFT]).decode(errors="replace") if token >= self._SHIFT else ""


class HfTokenizer:
    """A Hugging Face model folder. Loading takes about two seconds, nearly all of it imports."""

    def __init__(self, folder: Path) -> None:
        from transformers import AutoTokenizer  # noqa: PLC0415 -- slow to import, not needed for bytes

        # transformers' classes are chosen at run time, so their types are its own affair
        self._hf: Any = cast("Any", AutoTokenizer).from_pretrained(str(folder), local_files_only=True)
        self._fast: Any = self._hf.backend_tokenizer
        self._texts: dict[int, str] = {}

    def encode(self, text: str, *, special: bool) -> TokenIds:
        """See EngineTokenizer."""
        return ids(self._fast.encode(text, add_special_tokens=special).ids)

    def chat(self, messages: Sequence[JsonObject], options: JsonObject) -> str:
        """See EngineTokenizer."""
        try:
            return str(self._hf.apply_chat_template(list(messages), tokenize=False, **options))
        except (
            Exception
        ) as error:  # a template is a program of its own; whatever it raises is the client's 400
            raise PromptError(f"the chat template refused the messages: {error}") from error

    def text(self, token: int) -> str:
        """See EngineTokenizer."""
        text = self._texts.get(token)
        if text is None:
            text = self._texts[token] = str(self._fast.decode([token], skip_special_tokens=False))
        return text


def load_tokenizer(folder: Path | None) -> EngineTokenizer:
    """The tokenizer of a model folder, or bytes without one. Raises OSError if the folder has none."""
    return HfTokenizer(folder) if folder else ByteTokenizer()
