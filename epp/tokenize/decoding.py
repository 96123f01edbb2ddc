"""Token ids back to text, one token at a time, equal in sum to decoding all of them at once.

What a token's text is depends on the tokens around it, in ways that ``decoder`` of ``tokenizer.json`` says:

- byte-level BPE: a token is bytes, and a character may be spread over several tokens. Text is what UTF-8
  decoding of the bytes so far is sure of; what can never become a character is U+FFFD, as in
  ``tokenizers``, which decodes with Rust's ``from_utf8_lossy`` (one U+FFFD for a longest valid part).
- SentencePiece with byte fallback: a token is text with ``▁`` for a space, or ``<0xNN>``. A run of byte
  tokens is text if the whole run is UTF-8 and otherwise one U+FFFD a byte, so it is held until it ends.
- anything else: the library decodes a short window of tokens, and text is what the window adds.

Special tokens (``added_tokens`` with ``special``) are left out unless they are kept by id.
"""

import codecs
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import orjson
import tokenizers

from epp.tokenize.errors import LoadError
from epp.tokenize.files import read_model_folder

_BYTE_TOKEN: Final = re.compile(r"<0x([0-9A-Fa-f]{2})>")
_SPACE: Final = "▁"
_UNSURE: Final = "\ufffd"
_SETTLED_TOKENS: Final = 6
"""Tokens of a window that are kept as context once their text is out; more than any decoder looks back."""


class TextStream(Protocol):
    """One sequence being decoded."""

    def push(self, token: int) -> str:
        """The text that is certain now that was not before; empty while a character is incomplete."""
        ...

    def finish(self) -> str:
        """The rest, when no token follows."""
        ...


@dataclass(frozen=True, slots=True)
class TokenDecoder:
    """How one model's tokens become text. Immutable; streams are made of it."""

    special: Mapping[int, str]
    """Special tokens: left out of text unless kept."""
    added: Mapping[int, str]
    """All added tokens, special ones included."""
    templates: str
    """The sources of the model's chat templates, joined: what a template writes tells how answers look."""
    end_tokens: frozenset[int]
    """Ids of the end-of-sequence token, if named."""
    _open: Callable[[], TextStream]
    _bytes: Callable[[int], bytes]

    def stream(self, *, skip_special: bool = True, keep: frozenset[int] = frozenset()) -> TextStream:
        """A new sequence; ``keep`` are special tokens that show although others are skipped."""
        hidden = frozenset(self.special) - keep if skip_special else frozenset[int]()
        return _Filtered(self._open(), hidden) if hidden else self._open()

    def decode(self, tokens: Iterable[int], *, skip_special: bool = True) -> str:
        """All of a sequence."""
        stream = self.stream(skip_special=skip_special)
        return "".join([*map(stream.push, tokens), stream.finish()])

    def token_bytes(self, token: int) -> bytes:
        """The bytes one token stands for by itself; empty for an id the vocabulary lacks."""
        return self._bytes(token)

    def ids_of(self, texts: Iterable[str]) -> frozenset[int]:
        """Ids of the special tokens with these texts."""
        wanted = frozenset(texts)
        return frozenset(token for token, text in self.special.items() if text in wanted)


class _Filtered:
    """A stream that some tokens never reach."""

    __slots__ = ("_hidden", "_inner")

    def __init__(self, inner: TextStream, hidden: frozenset[int]) -> None:
        self._inner, self._hidden = inner, hidden

    def push(self, token: int) -> str:
        return "" if token in self._hidden else self._inner.push(token)

    def finish(self) -> str:
        return self._inner.finish()


class _ByteStream:
    """Byte-level BPE."""

    __slots__ = ("_decode", "_table")

    def __init__(self, table: Mapping[int, bytes]) -> None:
        self._table = table
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode

    def push(self, token: int) -> str:
        return self._decode(self._table.get(token, b""))

    def finish(self) -> str:
        return self._decode(b"", True)


class _PieceStream:
    """SentencePiece with byte fallback; ``strip`` spaces at the start belong to the decoder, not the text."""

    __slots__ = ("_run", "_strip", "_table")

    def __init__(self, table: Mapping[int, str | bytes], strip: int) -> None:
        self._table = table
        self._strip = strip
        self._run = bytearray()

    def push(self, token: int) -> str:
        piece = self._table.get(token, "")
        if isinstance(piece, bytes):
            self._run += piece
            return ""
        return self._stripped(self._bytes() + piece) if piece or self._run else ""

    def finish(self) -> str:
        return self._stripped(self._bytes())

    def _bytes(self) -> str:
        run = bytes(self._run)
        self._run.clear()
        try:
            return run.decode()
        except UnicodeDecodeError:
            return _UNSURE * len(run)

    def _stripped(self, text: str) -> str:
        while self._strip and text:
            if text[0] != " ":
                self._strip = 0
                break
            text = text[1:]
            self._strip -= 1
        return text


class _WindowStream:
    """Any decoder: the library decodes the last few tokens with and without the new ones."""

    __slots__ = ("_ids", "_settled", "_tokenizer")

    def __init__(self, tokenizer: tokenizers.Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._ids: list[int] = []
        self._settled = 0
        """Leading ids whose text is out."""

    def push(self, token: int) -> str:
        self._ids.append(token)
        before = self._text(self._ids[: self._settled])
        whole = self._text(self._ids)
        if whole.endswith(_UNSURE) or len(whole) <= len(before):
            return ""
        self._ids = self._ids[-_SETTLED_TOKENS:]
        self._settled = len(self._ids)
        return whole[len(before) :]

    def finish(self) -> str:
        before = self._text(self._ids[: self._settled])
        rest = self._text(self._ids)[len(before) :]
        self._ids, self._settled = [], 0
        return rest

    def _text(self, ids: list[int]) -> str:
        return self._tokenizer.decode(ids, skip_special_tokens=False)


def load_decoder(folder: Path) -> TokenDecoder:
    """The decoder of a model folder: half a second of work for a large vocabulary. Raises ``LoadError``."""
    files = read_model_folder(folder)
    try:
        return make_decoder(files.tokenizer, files.special_tokens, "\n".join(files.templates.values()))
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise LoadError(f"{folder}: tokenizer.json has an unexpected shape: {error!r}") from error


def make_decoder(
    tokenizer: Mapping[str, Any], named: Mapping[str, str] | None = None, templates: str = ""
) -> TokenDecoder:
    """The decoder of a ``tokenizer.json``; ``named`` are tokens such as ``eos_token``.

    Raises ValueError, TypeError, KeyError or AttributeError for what is none.
    """
    vocabulary = _vocabulary(tokenizer["model"])
    added = {int(token["id"]): str(token["content"]) for token in tokenizer["added_tokens"]}
    special = {token["id"]: added[token["id"]] for token in tokenizer["added_tokens"] if token["special"]}
    opened, to_bytes = _streams(tokenizer, vocabulary, added)
    end = (named or {}).get("eos_token")
    ends = frozenset(token for token, text in added.items() if text == end)
    return TokenDecoder(special, added, templates, ends, opened, to_bytes)


def _streams(
    tokenizer: Mapping[str, Any], vocabulary: Mapping[str, int], added: Mapping[int, str]
) -> tuple[Callable[[], TextStream], Callable[[int], bytes]]:
    steps = _decoder_steps(tokenizer.get("decoder"))
    kinds = tuple(step["type"] for step in steps)
    if kinds == ("ByteLevel",):
        to_bytes = _byte_table(vocabulary, added)
        return lambda: _ByteStream(to_bytes), lambda token: to_bytes.get(token, b"")
    strip = _sentencepiece_strip(steps)
    if strip is not None:
        pieces = _piece_table(vocabulary, added)
        return lambda: _PieceStream(pieces, strip), lambda token: _as_bytes(pieces.get(token, b""))
    try:
        library = tokenizers.Tokenizer.from_str(orjson.dumps(tokenizer).decode())
    except Exception as error:  # the library raises bare Exception
        raise ValueError(f"tokenizer.json is not usable: {error}") from error
    return (
        lambda: _WindowStream(library),
        lambda token: library.decode([token], skip_special_tokens=False).encode(),
    )


def _decoder_steps(decoder: Mapping[str, Any] | None) -> list[Mapping[str, Any]]:
    if decoder is None:
        return []
    if decoder["type"] != "Sequence":
        return [decoder]
    return [step for inner in decoder["decoders"] for step in _decoder_steps(inner)]


def _sentencepiece_strip(steps: list[Mapping[str, Any]]) -> int | None:
    """Spaces the usual SentencePiece decoder strips at the start; None: it is another decoder."""
    if [step["type"] for step in steps[:3]] != ["Replace", "ByteFallback", "Fuse"]:
        return None
    if steps[0]["pattern"] != {"String": _SPACE} or steps[0]["content"] != " ":
        return None
    rest = steps[3:]
    if not rest:
        return 0
    only = rest[0]
    usual = len(rest) == 1 and only["type"] == "Strip" and only["content"] == " " and not only["stop"]
    return int(only["start"]) if usual else None


def _vocabulary(model: Mapping[str, Any]) -> dict[str, int]:
    entries: Any = model["vocab"]
    if isinstance(entries, dict):
        return entries  # pyright: ignore[reportUnknownVariableType] -- foreign JSON
    return {str(entry[0]): number for number, entry in enumerate(entries)}


def _byte_table(vocabulary: Mapping[str, int], added: Mapping[int, str]) -> dict[int, bytes]:
    letters = _byte_letters()
    to_latin = {ord(letter): byte for letter, byte in letters.items()}
    table = {
        token: text.translate(to_latin).encode("latin-1")
        if letters.keys() >= frozenset(text)
        else text.encode()
        for text, token in vocabulary.items()
    }
    for token, text in added.items():
        mapped = letters.keys() >= frozenset(text)  # the decoder treats added tokens like all others
        table[token] = text.translate(to_latin).encode("latin-1") if mapped else text.encode()
    return table


def _byte_letters() -> dict[str, int]:
    """Byte-level BPE's alphabet (GPT-2): printable bytes stand for themselves, others for U+0100 and on."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = [byte for byte in range(0x100) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {
        chr(0x100 + index): byte for index, byte in enumerate(others)
    }


def _piece_table(vocabulary: Mapping[str, int], added: Mapping[int, str]) -> dict[int, str | bytes]:
    texts = {token: text for text, token in vocabulary.items()} | dict(added)
    return {token: _piece(text) for token, text in texts.items()}


def _piece(text: str) -> str | bytes:
    byte = _BYTE_TOKEN.fullmatch(text)
    return bytes([int(byte[1], 16)]) if byte else text.replace(_SPACE, " ")


def _as_bytes(piece: str | bytes) -> bytes:
    return piece if isinstance(piece, bytes) else piece.encode()
