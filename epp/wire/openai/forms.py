"""The forms a prompt of text or token ids comes in.

One text, a list of texts, one list of token ids, or a list of such lists. A batch is one request and goes to
one worker; its first prompt decides which.
"""

from collections.abc import Sequence
from typing import Final, TypeAlias, cast

import msgspec

from epp.core.errors import BadRequestError
from epp.core.requests import Prompt, TextPrompt, TokenPrompt
from epp.wire.openai.bounds import RequestLimits, TokenId, bounded
from epp.wire.tokens import flat_tokens

TextOrTokens: TypeAlias = str | list[str | TokenId | list[TokenId]]
"""The four forms."""

NULL: Final = msgspec.Raw(b"null")
"""Default of a field of which only the presence counts."""


def is_given(value: msgspec.Raw) -> bool:
    """True: any JSON value but null."""
    return bytes(memoryview(value)[:1]) != b"n"


def prompt_of(sent: TextOrTokens, field: str, limits: RequestLimits, *, special: bool | None) -> Prompt:
    """A prompt in any form that holds something; ``special`` tokens are added to texts unless forbidden."""
    if isinstance(sent, str):
        return TextPrompt((sent,), special is not False)
    if isinstance(sent[0], str):
        return texts_prompt(sent, field, limits, special=special is not False)
    return tokens_prompt(sent, field, limits)


def texts_prompt(sent: Sequence[object], field: str, limits: RequestLimits, *, special: bool) -> TextPrompt:
    """A batch of texts."""
    bounded(sent, limits.max_prompts, field)
    texts = tuple(text for text in sent if isinstance(text, str))
    if len(texts) != len(sent):
        raise _mixed(field)
    return TextPrompt(texts, special)


def tokens_prompt(sent: Sequence[str | int | list[int]], field: str, limits: RequestLimits) -> TokenPrompt:
    """Token ids, or a batch of lists of them."""
    ids: Sequence[str | int | list[int]] = sent
    if isinstance(sent[0], list):
        ids = sent[0]
        bounded(sent, limits.max_prompts, field)
        if not all(isinstance(other, list) for other in sent):
            raise _mixed(field)
    try:
        return TokenPrompt(flat_tokens(cast("Sequence[int]", ids)))  # packing checks every entry
    except TypeError as error:
        raise _mixed(field) from error


def _mixed(field: str) -> BadRequestError:
    return BadRequestError(
        f"Field `{field}` must hold texts, token ids, or lists of token ids, not a mixture."
    )
