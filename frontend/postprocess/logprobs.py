"""Log-probabilities in OpenAI's two forms."""

from collections.abc import Sequence
from typing import Any, TypeAlias

from epp.tokenize.decoding import TokenDecoder
from frontend.postprocess.tokens_wire import TokenLogprob

JsonDict: TypeAlias = dict[str, Any]


def chat_logprobs(decoder: TokenDecoder, entries: Sequence[TokenLogprob], alternatives: int) -> JsonDict:
    """``choices[].logprobs`` of a chat: one entry per token, each with its bytes, because a token may be a
    part of a character."""
    content = [
        _entry(decoder, entry.token, entry.logprob)
        | {"top_logprobs": [_entry(decoder, token, value) for token, value in entry.top[:alternatives]]}
        for entry in entries
    ]
    return {"content": content, "refusal": None}


def _entry(decoder: TokenDecoder, token: int, logprob: float) -> JsonDict:
    raw = decoder.token_bytes(token)
    return {"token": raw.decode(errors="replace"), "logprob": logprob, "bytes": list(raw)}


def completion_logprobs(
    decoder: TokenDecoder, entries: Sequence[TokenLogprob], alternatives: int, offset_chars: int
) -> JsonDict:
    """``choices[].logprobs`` of a completion; ``offset_chars`` is where its text goes on."""
    tokens = [decoder.token_bytes(entry.token).decode(errors="replace") for entry in entries]
    offsets: list[int] = []
    for token in tokens:
        offsets.append(offset_chars)
        offset_chars += len(token)
    return {
        "tokens": tokens,
        "token_logprobs": [entry.logprob for entry in entries],
        "top_logprobs": [_top(decoder, entry, alternatives) for entry in entries],
        "text_offset": offsets,
    }


def _top(decoder: TokenDecoder, entry: TokenLogprob, alternatives: int) -> dict[str, float]:
    """The likeliest tokens and the one that was taken, as OpenAI has them."""
    found = dict(entry.top[:alternatives])
    found.setdefault(entry.token, entry.logprob)
    return {decoder.token_bytes(token).decode(errors="replace"): value for token, value in found.items()}
