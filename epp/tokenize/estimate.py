"""Pseudo-tokens for prompts whose model has no tokenizer here: the text's own bytes, four to a token.

They say nothing about the engine's tokens, but two prompts that begin alike have the same pseudo-tokens
up to where they differ, which is enough to send them to the same worker. Four bytes are near the
length of a token in English text and code.
"""

from collections.abc import Iterator
from typing import Any, cast

import orjson

from epp.core.requests import ChatPrompt, JsonObject, TextPrompt
from epp.core.tokens import Exactness, Tokenized

BYTES_PER_TOKEN = 4
_SEPARATOR = b"\x1e"
_JSON = orjson.OPT_NON_STR_KEYS | orjson.OPT_SORT_KEYS


def estimate_tokens(prompt: ChatPrompt | TextPrompt, reason: str) -> Tokenized:
    """Pseudo-tokens of ``prompt``; without any if it holds something that is no JSON."""
    try:
        data = _SEPARATOR.join(_parts(prompt))
    except (orjson.JSONEncodeError, UnicodeEncodeError):
        return no_tokens(prompt, reason)
    data += b"\0" * (-len(data) % BYTES_PER_TOKEN)
    return Tokenized(data, Exactness.ESTIMATED, len(data) // BYTES_PER_TOKEN, reason)


def no_tokens(prompt: ChatPrompt | TextPrompt, reason: str) -> Tokenized:
    """No tokens, and a guess at how many the prompt has."""
    return Tokenized(b"", Exactness.NONE, prompt_chars(prompt) // BYTES_PER_TOKEN, reason)


def prompt_chars(prompt: ChatPrompt | TextPrompt) -> int:
    """About how long the prompt's text is, in characters, without rendering it."""
    if isinstance(prompt, TextPrompt):
        return len(prompt.texts[0]) if prompt.texts else 0
    return sum(_content_chars(message.get("content")) for message in prompt.messages)


def _content_chars(content: Any) -> int:
    if isinstance(content, str):
        return len(content)
    if not isinstance(content, list):
        return 0
    return sum(len(part.get("text", "")) for part in cast(list[JsonObject], content))


def _parts(prompt: ChatPrompt | TextPrompt) -> Iterator[bytes]:
    if isinstance(prompt, TextPrompt):
        yield prompt.texts[0].encode() if prompt.texts else b""
        return
    if prompt.tools is not None:
        yield orjson.dumps(prompt.tools, option=_JSON)
    for message in prompt.messages:
        content = message.get("content")
        if isinstance(content, str):
            yield str(message.get("role")).encode()
            yield content.encode()
        else:
            yield orjson.dumps(message, option=_JSON)
