"""The engines' token-in/token-out requests and streams, read and continued without I/O.

Forms, as the engines write them:

- vLLM 0.32 ``POST /inference/v1/generate``: ``{model, token_ids, sampling_params, stream, stream_options}``;
  an event is ``{choices: [{index, token_ids, logprobs: {content: [{token_id, logprob, top_logprobs}]},
  finish_reason, stop_reason}], usage}`` with the new ids only.
- SGLang ``POST /generate``: ``{input_ids, sampling_params, stream}``, and ``lora_path``, ``routed_dp_rank``
  (``srt/managers/io_struct.py``, ``GenerateReqInput``; ``srt/sampling/sampling_params.py``); an event is
  ``{output_ids, index, meta_info: {completion_tokens, prompt_tokens, cached_tokens, finish_reason: {type,
  matched}, output_token_logprobs: [[logprob, id, text]], output_top_logprobs}}``. Ids are all so far or the
  new ones, by the server's options; ``completion_tokens`` tells which of them are new in either case. The
  status is 200 whatever happens: what SGLang finds wrong with a request is an ``error`` event
  (``srt/entrypoints/http_server.py`` makes one of ``ValueError`` alone), its own trouble a finish reason
  ``abort``, or a broken stream.
- TensorRT-LLM ``POST /v1/completions`` with ids as ``prompt`` and ``detokenize: false``: an event is a
  completion chunk whose choices carry ``token_ids`` (``serve/openai_protocol.py``, ``CompletionRequest``;
  ``serve/postprocess_handlers.py``, ``completion_stream_post_processor``).

All end with ``[DONE]``, and an event with ``error`` instead of choices ends the stream before.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from epp.core.endpoints import EngineKind
from epp.core.requests import Api
from frontend.body import Body
from frontend.sse import DONE_DATA


class WireError(ValueError):
    """An engine's event that is not of its form."""


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """How likely one token was."""

    token: int
    logprob: float
    top: tuple[tuple[int, float], ...] = ()
    """The likeliest tokens in this place, in the engine's order."""


@dataclass(frozen=True, slots=True)
class TokenDelta:
    """New tokens of one choice."""

    index: int
    token_ids: tuple[int, ...]
    finish_reason: str | None = None
    stop_reason: int | str | None = None
    """The stop string or token id that ended it; None: end of sequence, or another reason."""
    logprobs: tuple[TokenLogprob, ...] | None = None
    """One per token, if asked for."""
    total: int | None = None
    """Tokens of this choice so far, where the engine counts them in the event."""


@dataclass(frozen=True, slots=True)
class TokenEvent:
    """One event of an engine's stream."""

    deltas: tuple[TokenDelta, ...] = ()
    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    error: str | None = None
    """The engine failed; the message is its own."""
    refused: bool = False
    """``error`` is what the engine finds wrong with the request."""
    done: bool = False
    """``[DONE]``."""


@dataclass(frozen=True, slots=True)
class TokenForm:
    """Where one engine takes token ids, and under which names."""

    api: Api
    path: str
    ids: str
    """Field of the prompt's ids."""
    sampling: str | None
    """Field that holds the sampling parameters; None: they stand at the top."""
    max_tokens: str
    min_tokens: str


FORMS: Final[Mapping[EngineKind, TokenForm]] = {
    EngineKind.VLLM: TokenForm(
        Api.VLLM_GENERATE,
        "/inference/v1/generate",
        "token_ids",
        "sampling_params",
        "max_tokens",
        "min_tokens",
    ),
    EngineKind.SGLANG: TokenForm(
        Api.SGLANG_GENERATE,
        "/generate",
        "input_ids",
        "sampling_params",
        "max_new_tokens",
        "min_new_tokens",
    ),
    EngineKind.TRTLLM: TokenForm(
        Api.COMPLETIONS, "/v1/completions", "prompt", None, "max_tokens", "min_tokens"
    ),
}


# --- requests ------------------------------------------------------------------------------------------


def kind_of(api: Api, body: Body) -> EngineKind | None:
    """Whose token form ``body`` is; None: it is no such form."""
    for kind, form in FORMS.items():
        if form.api is api and form.ids in body:
            tokens_only = kind is not EngineKind.TRTLLM or body.raw("detokenize") == b"false"
            return kind if tokens_only else None
    return None


def with_max_tokens(kind: EngineKind, body: Body, max_tokens: int) -> Body:
    """The same request with another bound on its output (a prefill leg: 1), and no lower one."""
    form = FORMS[kind]
    return _with_sampling(form, body, {form.max_tokens: max_tokens, form.min_tokens: None})


def continue_body(kind: EngineKind, body: Body, generated: Sequence[int]) -> Body:
    """The request that goes on where ``generated`` ended: they join the prompt, the output's bounds shrink.

    The upper bound stays at least 1: who has generated everything must not ask again.
    """
    form = FORMS[kind]
    prompt = body.get(form.ids, list[int]) or []
    sampling = _sampling(form, body)
    changes: dict[str, Any] = {}
    upper, lower = sampling.get(form.max_tokens), sampling.get(form.min_tokens)
    if isinstance(upper, int):
        changes[form.max_tokens] = max(1, upper - len(generated))
    if isinstance(lower, int):
        changes[form.min_tokens] = max(0, lower - len(generated))
    return _with_sampling(form, body.replace(**{form.ids: [*prompt, *generated]}), changes)


def _sampling(form: TokenForm, body: Body) -> dict[str, Any]:
    if form.sampling is not None:
        return body.get(form.sampling, dict[str, Any]) or {}
    names = (form.max_tokens, form.min_tokens)
    return {name: body.get(name, int) for name in names if name in body}


def _with_sampling(form: TokenForm, body: Body, changes: Mapping[str, Any]) -> Body:
    if form.sampling is None:
        gone = {name: msgspec.UNSET if value is None else value for name, value in changes.items()}
        return body.replace(**gone)
    kept = {name: value for name, value in _sampling(form, body).items() if name not in changes}
    set_ = {name: value for name, value in changes.items() if value is not None}
    return body.replace(**{form.sampling: kept | set_})


# --- streams -------------------------------------------------------------------------------------------


class _Candidate(msgspec.Struct, gc=False):
    token_id: int
    logprob: float


class _Position(_Candidate, gc=False):
    top_logprobs: list[_Candidate] = []


class _Content(msgspec.Struct, gc=False):
    content: list[_Position] | None = None


class _Choice(msgspec.Struct, gc=False):
    index: int = 0
    text: str = ""
    token_ids: list[int] | None = None
    finish_reason: str | None = None
    stop_reason: int | str | None = None
    logprobs: msgspec.Raw = msgspec.Raw(b"null")


class _CachedTokens(msgspec.Struct, gc=False):
    cached_tokens: int | None = None


class _Usage(msgspec.Struct, gc=False):
    prompt_tokens: int | None = None
    prompt_tokens_details: _CachedTokens | None = None


class _Chunk(msgspec.Struct, gc=False):
    choices: list[_Choice] = []
    usage: _Usage | None = None
    error: msgspec.Raw = msgspec.Raw(b"null")


class _Finish(msgspec.Struct, gc=False):
    type: str
    matched: Any = None


class _Meta(msgspec.Struct, gc=False):
    completion_tokens: int | None = None
    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    finish_reason: _Finish | None = None
    output_token_logprobs: list[tuple[float | None, int, Any]] | None = None
    output_top_logprobs: list[list[tuple[float | None, int, Any]] | None] | None = None


class _SglangEvent(msgspec.Struct, gc=False):
    output_ids: list[int] = []
    index: int = 0
    meta_info: _Meta | None = None
    error: msgspec.Raw = msgspec.Raw(b"null")


class _Error(msgspec.Struct, gc=False):
    message: str = "the engine failed"


_CHUNK: Final = msgspec.json.Decoder(_Chunk)
_SGLANG: Final = msgspec.json.Decoder(_SglangEvent)
_LOGPROBS: Final = msgspec.json.Decoder(_Content | None)
_LEAST_LOGPROB: Final = -9999.0
"""What stands for minus infinity in OpenAI's forms."""


def read_stream_event(kind: EngineKind, data: bytes, seen: Mapping[int, int] | None = None) -> TokenEvent:
    """One event's ``data``. Raises WireError.

    ``seen`` are the tokens already received of each choice; only SGLang's form needs it.
    """
    if data == DONE_DATA:
        return TokenEvent(done=True)
    try:
        if kind is EngineKind.SGLANG:
            return _sglang_event(_SGLANG.decode(data), seen or {})
        return _chunk_event(kind, _CHUNK.decode(data))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise WireError(f"an event of {kind} is not of its form: {error}") from error


def _chunk_event(kind: EngineKind, chunk: _Chunk) -> TokenEvent:
    failed = _error(chunk.error)
    if failed is not None:
        return TokenEvent(error=failed)
    usage = chunk.usage or _Usage()
    details = usage.prompt_tokens_details
    deltas = tuple(_chunk_delta(kind, choice) for choice in chunk.choices)
    return TokenEvent(deltas, usage.prompt_tokens, details.cached_tokens if details else None)


def _chunk_delta(kind: EngineKind, choice: _Choice) -> TokenDelta:
    logprobs = None
    if kind is EngineKind.VLLM:
        content = _LOGPROBS.decode(choice.logprobs)
        logprobs = _positions(content.content) if content and content.content is not None else None
    if choice.token_ids is None and choice.text:
        raise WireError(f"an event of {kind} has text and no token ids")
    tokens = tuple(choice.token_ids or ())
    return TokenDelta(choice.index, tokens, choice.finish_reason, choice.stop_reason, logprobs)


def _positions(content: list[_Position]) -> tuple[TokenLogprob, ...]:
    return tuple(
        TokenLogprob(
            entry.token_id, entry.logprob, tuple((top.token_id, top.logprob) for top in entry.top_logprobs)
        )
        for entry in content
    )


def _sglang_event(event: _SglangEvent, seen: Mapping[int, int]) -> TokenEvent:
    failed = _error(event.error)
    meta = event.meta_info or _Meta()
    if failed is not None:
        return TokenEvent(error=failed, refused=True)
    total = meta.completion_tokens
    new = len(event.output_ids)
    if total is not None:
        new = min(new, max(0, total - seen.get(event.index, 0)))
    finish = meta.finish_reason
    if finish is not None and finish.type == "abort":
        return TokenEvent(error="the engine aborted the request")
    delta = TokenDelta(
        event.index,
        tuple(event.output_ids[len(event.output_ids) - new :]),
        finish.type if finish else None,
        finish.matched if finish and isinstance(finish.matched, (int, str)) else None,
        _sglang_logprobs(meta, new),
        total,
    )
    return TokenEvent((delta,), meta.prompt_tokens, meta.cached_tokens)


def _sglang_logprobs(meta: _Meta, new: int) -> tuple[TokenLogprob, ...] | None:
    sampled = meta.output_token_logprobs
    if sampled is None:
        return None
    sampled = sampled[max(0, len(sampled) - new) :]
    tops = (meta.output_top_logprobs or [])[-len(sampled) :] if sampled else []
    rows = [*tops, *[None] * (len(sampled) - len(tops))]
    return tuple(
        TokenLogprob(token, _least(value), tuple((other, _least(likely)) for likely, other, _ in row or ()))
        for (value, token, _), row in zip(sampled, rows, strict=True)
    )


def _least(logprob: float | None) -> float:
    return _LEAST_LOGPROB if logprob is None else logprob


def _error(raw: msgspec.Raw) -> str | None:
    text = bytes(raw)
    if text == b"null":
        return None
    try:
        return msgspec.json.decode(text, type=_Error).message
    except msgspec.ValidationError:
        return _Error().message


def splice_event(kind: EngineKind, data: bytes, generated: int) -> bytes:
    """An event of a continued request as the first request would have written it: ``generated`` tokens move
    from the prompt's count to the output's. Raises WireError."""
    if data == DONE_DATA or generated == 0:
        return data
    try:
        event = msgspec.json.decode(data, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise WireError(f"an event of {kind} is not of its form: {error}") from error
    counts: Any = event.get("meta_info" if kind is EngineKind.SGLANG else "usage")
    if not isinstance(counts, dict):
        return data
    for name, change in (("prompt_tokens", -generated), ("completion_tokens", generated)):
        value: Any = counts.get(name)  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType] -- foreign JSON
        if isinstance(value, int):
            counts[name] = value + change
    return msgspec.json.encode(event)
