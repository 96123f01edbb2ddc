"""The request for the rest of an answer, and the counts of an answer made in parts."""

from collections.abc import Callable
from typing import Any, Final, cast

import msgspec

from frontend.body import Body

_SHARED: Final = (
    "model", "temperature", "top_p", "top_k", "min_p", "seed", "frequency_penalty", "presence_penalty",
    "repetition_penalty", "logit_bias", "user", "priority", "cache_salt", "ignore_eos", "stop_token_ids",
    "skip_special_tokens", "spaces_between_special_tokens", "allowed_token_ids", "bad_words", "stream",
    "stream_options", "nvext", "routing", "kv_transfer_params", "vllm_xargs",
)  # fmt: skip
"""Fields that mean the same in both APIs and for a part of an answer as for the whole."""
_STRUCTURED: Final = (
    "response_format", "structured_outputs", "guided_json", "guided_regex", "guided_choice",
    "guided_grammar",
)  # fmt: skip
_PARTS: Final = (b'"image_url"', b'"input_audio"', b'"video_url"', b'"audio_url"', b'"file"')
"""Signs of a conversation that is more than its token ids."""


def obstacle(body: Body, *, chat: bool) -> str:
    """Why an answer to ``body`` cannot be taken up by another engine once text has passed; empty: it can."""
    return next((word for word, stands in _OBSTACLES if stands(body, chat)), "")


def _several(body: Body, _chat: bool) -> bool:
    return any((body.get(name, int) or 1) > 1 for name in ("n", "best_of"))


def _structured(body: Body, _chat: bool) -> bool:
    return any(_set(body, name) for name in _STRUCTURED) and body.raw("response_format") != b'{"type":"text"}'


def _multimodal(body: Body, chat: bool) -> bool:
    return chat and any(part in (body.raw("messages") or b"") for part in _PARTS)


_OBSTACLES: Final[tuple[tuple[str, Callable[[Body, bool], bool]], ...]] = (
    ("several-choices", _several),
    ("stop-strings", lambda body, _chat: _set(body, "stop")),
    ("structured-output", _structured),
    ("logprobs", lambda body, _chat: _set(body, "logprobs")),
    ("tools", lambda body, _chat: _set(body, "tools") and body.raw("tool_choice") != b'"none"'),
    ("multimodal", _multimodal),
    ("echo", lambda body, chat: not chat and _set(body, "echo")),
)


def answer_limit(body: Body, prompt: int, generated: int, window: int | None) -> int | None:
    """Tokens the rest of the answer may have, at least 1; None: nobody knows."""
    asked = body.get("max_completion_tokens", int) or body.get("max_tokens", int)
    if asked is not None:
        return max(1, asked - generated)
    if "messages" not in body:
        return max(1, _COMPLETION_DEFAULT - generated)
    return None if window is None else max(1, window - prompt - generated)


_COMPLETION_DEFAULT: Final = 16
"""``max_tokens`` of a completion that names none (OpenAI's API)."""


def completion_body(body: Body, ids: list[int], limit: int, generated: int) -> Body:
    """A completion of ``ids`` with the sampling of ``body``."""
    kept: dict[str, Any] = {name: msgspec.Raw(raw) for name in _SHARED if (raw := body.raw(name)) is not None}
    least = body.get("min_tokens", int)
    if least:
        kept["min_tokens"] = max(0, least - generated)
    return Body.of(kept | {"prompt": ids, "max_tokens": limit, "return_token_ids": True})


class Counts:
    """Usage of an answer in parts: what earlier workers generated stands in the last one's prompt."""

    def __init__(self) -> None:
        self._moved = 0

    def moved(self, generated: int) -> None:
        """From here on that many tokens of the prompt are output."""
        self._moved = generated

    def adjusted(self, usage: msgspec.Raw) -> msgspec.Raw:
        """A usage object as one worker would have written it."""
        read: Any = msgspec.json.decode(usage)
        if not self._moved or not isinstance(read, dict):
            return usage
        counts = cast("dict[str, Any]", read)
        for name, change in (("prompt_tokens", -self._moved), ("completion_tokens", self._moved)):
            if isinstance(counts.get(name), int):
                counts[name] += change
        _bound_cached(counts)
        return msgspec.Raw(msgspec.json.encode(counts))

    def conclusion(self, body: Body, prompt: int, generated: int) -> msgspec.Raw | None:
        """The usage a client asked for and its worker did not live to tell; None: it asked for none."""
        options = body.get("stream_options", dict[str, Any]) or {}
        if not options.get("include_usage"):
            return None
        counts = {
            "prompt_tokens": prompt,
            "completion_tokens": generated,
            "total_tokens": prompt + generated,
        }
        return msgspec.Raw(msgspec.json.encode(counts))


def _bound_cached(usage: dict[str, Any]) -> None:
    """The last worker may have found more than the client's prompt in its cache."""
    prompt, details = usage.get("prompt_tokens"), usage.get("prompt_tokens_details")
    if not isinstance(prompt, int) or not isinstance(details, dict):
        return
    told = cast("dict[str, Any]", details)
    cached = told.get("cached_tokens")
    if isinstance(cached, int) and cached > prompt:
        usage["prompt_tokens_details"] = told | {"cached_tokens": prompt}


def _set(body: Body, name: str) -> bool:
    raw = body.raw(name)
    return raw is not None and raw not in (b"null", b"[]", b'""', b"0", b"false")
