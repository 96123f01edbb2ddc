"""Requests are checked before anybody is asked to compute: unknown fields, types, ranges.

Only small fields are decoded; the text of a conversation is never looked at. Everything here raises
:class:`ApiError`, status 400 unless said otherwise, with the sentences of docs/frontend-http.md. Ranges are
OpenAI's, widened to what engines take (``top_k``, ``repetition_penalty``).
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, TypeAlias

import msgspec

from frontend.body import Body
from frontend.errors import ApiError, bad_request
from frontend.serving import fields

Check: TypeAlias = Callable[[Body, str], None]
"""Refuses a field that is present with a wrong value."""

_REFUSED: Final = "Failed to deserialize the JSON body into the target type"
_EMPTY: Final = re.compile(rb"\s*(?:\[\s*\]|null)\s*\Z")
_NO_LIST: Final = re.compile(rb"\s*[^\[\s]")
_MANY: Final = 20
"""Unknown fields listed at most."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What one endpoint asks of a body."""

    known: frozenset[str] | None = None
    """Fields allowed; None: any."""
    required: tuple[str, ...] = ()
    one_of: tuple[str, ...] = ()
    """At least one of these must be there; the first is named when none is."""
    checks: Mapping[str, Check] = field(default_factory=dict[str, Check])
    refused: frozenset[str] = frozenset()
    """Fields not allowed, also where any is."""


def check(body: Body, rules: Rules, *, nvext: bool = True) -> None:
    """Refuse a body that breaks the rules; ``nvext`` False: that field is unknown here."""
    names = body.names()
    if rules.refused and not rules.refused.isdisjoint(names):
        _refuse_unknown(names & rules.refused)
    if rules.known is not None and not (names <= rules.known and (nvext or "nvext" not in names)):
        _refuse_unknown(names - (rules.known if nvext else rules.known - {"nvext"}))
    for name in rules.required:
        if name not in names:
            raise bad_request(f"{_REFUSED}: missing field `{name}`")
    if rules.one_of and names.isdisjoint(rules.one_of):
        raise bad_request(f"{_REFUSED}: missing field `{rules.one_of[0]}`")
    checks = rules.checks
    for name in names:
        if name in checks:
            checks[name](body, name)


def without_handover(rules: Rules) -> Rules:
    """The same for clients that may not say where engines take computed state from."""
    known = None if rules.known is None else rules.known - fields.HANDOVER
    return replace(
        rules, known=known, refused=fields.HANDOVER, checks={**rules.checks, "vllm_xargs": _extra_arguments}
    )


def _extra_arguments(body: Body, name: str) -> None:
    """``SamplingParams.extra_args``, among which vLLM looks for a hand-over as well."""
    inside = fields.HANDOVER & (body.get(name, dict[str, msgspec.Raw]) or {}).keys()
    if inside:
        _refuse_unknown({f"{name}.{field}" for field in inside})


def _refuse_unknown(unknown: set[str]) -> None:
    for name in sorted(unknown & fields.DEPRECATED.keys()):
        raise ApiError(
            501, f"`{name}` is deprecated and not supported. Use `{fields.DEPRECATED[name]}` instead."
        )
    if unknown:
        listed = ", ".join(f"`{name[:64]}`" for name in sorted(unknown)[:_MANY])
        raise bad_request(f"Validation: Unsupported parameter(s): {listed}")


def _number(
    title: str, least: float, most: float, *, above: bool = False, also: float | None = None
) -> Check:
    """``above``: ``least`` itself is refused. ``also``: one more value is fine."""
    limits = f"greater than {least:g} and at most {most:g}" if above else f"between {least:g} and {most:g}"

    def ranged(body: Body, name: str) -> None:
        value = body.get(name, float)
        if value is None or value == also:
            return
        if not least <= value <= most or (above and value == least):
            raise bad_request(f"Validation: {title} must be {limits}, got {value:g}")

    return ranged


def _whole(
    title: str, least: int, most: int | None = None, *, also: int | None = None, spelt: str = ""
) -> Check:
    limits = spelt or (f"between {least} and {most}" if most is not None else f"at least {least}")

    def ranged(body: Body, name: str) -> None:
        value = body.get(name, int)
        if value is None or value == also:
            return
        if value < least or (most is not None and value > most):
            raise bad_request(f"Validation: {title} must be {limits}, got {value}")

    return ranged


def _of(kind: type) -> Check:
    def typed(body: Body, name: str) -> None:
        body.get(name, kind)

    return typed


def _stop(body: Body, name: str) -> None:
    body.get(name, str | list[str])  # type: ignore[arg-type] # mypy: a union is no type[T]; msgspec takes it


def _messages(body: Body, name: str) -> None:
    view = body.view(name)
    if _EMPTY.match(view[:64]):
        raise bad_request(
            "Validation: The 'messages' field cannot be empty. At least one message is required."
        )
    if _NO_LIST.match(view[:64]):
        raise bad_request(f"{_REFUSED}: `messages`: expected an array")


def _prompt(body: Body, name: str) -> None:
    if _EMPTY.match(body.view(name)[:64]) and "prompt_embeds" not in body:
        raise bad_request("Validation: The 'prompt' field cannot be empty.")


def _input(body: Body, name: str) -> None:
    if _EMPTY.match(body.view(name)[:64]):
        raise bad_request("Validation: The 'input' field cannot be empty.")


def _stream_options(body: Body, name: str) -> None:
    if body.get(name, dict[str, msgspec.Raw]) is not None and not body.get("stream", bool):
        raise bad_request(
            "Validation: The 'stream_options' field is only allowed when 'stream' is set to true."
        )


def _top_logprobs(body: Body, name: str) -> None:
    value = body.get(name, int)
    if value is None:
        return
    if not 0 <= value <= 20:
        raise bad_request(f"Validation: Top_logprobs must be between 0 and 20, got {value}")
    if value and not body.get("logprobs", bool):
        raise bad_request(
            "Validation: The 'top_logprobs' field is only allowed when 'logprobs' is set to true."
        )


def _logit_bias(body: Body, name: str) -> None:
    for token, bias in (body.get(name, dict[str, float]) or {}).items():
        if not -100 <= bias <= 100:
            raise bad_request(
                f"Validation: Logit bias of token {token[:20]} must be between -100 and 100, got {bias:g}"
            )


def _best_of(body: Body, name: str) -> None:
    _whole("Best_of", 1, 128)(body, name)
    best, count = body.get(name, int), body.get("n", int)
    if best is not None and count is not None and best < count:
        raise bad_request(f"Validation: Best_of must be at least n, got {best} and {count}")


_MODEL: Final[Mapping[str, Check]] = {"model": _of(str), "user": _of(str)}
_SAMPLING: Final[Mapping[str, Check]] = {
    **_MODEL,
    "stream": _of(bool),
    "stream_options": _stream_options,
    "temperature": _number("Temperature", 0, 2),
    "top_p": _number("Top_p", 0, 1, above=True),
    "min_p": _number("Min_p", 0, 1),
    "top_k": _whole("Top_k", 0, also=-1, spelt="-1 or at least 0"),
    "frequency_penalty": _number("Frequency penalty", -2, 2),
    "presence_penalty": _number("Presence penalty", -2, 2),
    "repetition_penalty": _number("Repetition penalty", 0, 2, above=True),
    "n": _whole("n", 1, 128),
    "seed": _of(int),
    "stop": _stop,
    "logit_bias": _logit_bias,
    "ignore_eos": _of(bool),
    "min_tokens": _whole("Min_tokens", 0),
}
_POSITIVE: Final = "greater than 0"

CHAT: Final = Rules(
    fields.CHAT,
    ("model", "messages"),
    checks={
        **_SAMPLING,
        "messages": _messages,
        "logprobs": _of(bool),
        "top_logprobs": _top_logprobs,
        "max_tokens": _whole("Max_tokens", 1, spelt=_POSITIVE),
        "max_completion_tokens": _whole("Max_completion_tokens", 1, spelt=_POSITIVE),
        "tools": _of(list[msgspec.Raw]),
        "parallel_tool_calls": _of(bool),
    },
)
"""``/v1/chat/completions``."""
COMPLETIONS: Final = Rules(
    fields.COMPLETIONS,
    ("model",),
    ("prompt", "prompt_embeds"),
    {
        **_SAMPLING,
        "prompt": _prompt,
        "logprobs": _whole("Logprobs", 0, 20),
        "max_tokens": _whole("Max_tokens", 0),
        "best_of": _best_of,
        "echo": _of(bool),
        "suffix": _of(str),
    },
)
"""``/v1/completions``. ``max_tokens`` 0 scores the prompt (with ``echo``)."""
EMBEDDINGS: Final = Rules(
    fields.EMBEDDINGS,
    ("model",),
    ("input", "messages"),
    {**_MODEL, "input": _input, "encoding_format": _of(str), "dimensions": _whole("Dimensions", 1)},
)
"""``/v1/embeddings``."""
RESPONSES: Final = Rules(
    None,
    ("model",),
    checks={
        **_MODEL,
        "input": _input,
        "stream": _of(bool),
        "temperature": _number("Temperature", 0, 2),
        "top_p": _number("Top_p", 0, 1, above=True),
        "max_output_tokens": _whole("Max_output_tokens", 1, spelt=_POSITIVE),
    },
)
"""``/v1/responses``; the rest of its body is the translation's to judge."""
MESSAGES: Final = Rules(
    None, ("model", "messages"), checks={"model": _of(str), "messages": _messages, "stream": _of(bool)}
)
"""``/v1/messages``."""
NAMED: Final = Rules(None, ("model",), checks={"model": _of(str), "stream": _of(bool)})
"""Bodies of which only the model matters here."""
ANY: Final = Rules(None, checks={"model": _of(str), "stream": _of(bool)})
"""Bodies that may do without a model."""
