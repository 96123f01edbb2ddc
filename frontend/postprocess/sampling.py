"""What an OpenAI body asks of generation, and the same as each engine's token-in/token-out request.

Parameters keep vLLM's names here; the other engines' are translated, and what an engine has no name for is
refused by name rather than dropped.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, cast

import msgspec

from epp.core.endpoints import EngineKind
from frontend.body import Body
from frontend.errors import bad_request
from frontend.nvext import NvExtRequest
from frontend.postprocess.structured import for_sglang, for_trtllm, read_constraint
from frontend.postprocess.tokens_wire import FORMS
from frontend.postprocess.toolplan import ToolPlan

JsonDict: TypeAlias = dict[str, Any]

_PARAMETERS: Final[dict[str, Any]] = {
    "temperature": float,
    "top_p": float,
    "top_k": int,
    "min_p": float,
    "seed": int,
    "presence_penalty": float,
    "frequency_penalty": float,
    "repetition_penalty": float,
    "ignore_eos": bool,
    "min_tokens": int,
    "stop_token_ids": list[int],
    "logit_bias": dict[str, float],
    "bad_words": list[str],
    "allowed_token_ids": list[int],
    "n": int,
}
_REFUSED: Final = (
    "best_of",
    "use_beam_search",
    "suffix",
    "prompt_logprobs",
    "prompt_embeds",
    "truncate_prompt_tokens",
    "logits_processors",
    "chat_template",
    "length_penalty",
    "early_stopping",
    "top_p_min",
    "repetition_detection",
    "logprob_token_ids",
    "watermarking",
    "structural_tag",
    "stop_regex",
    "custom_logit_processor",
    "custom_params",
    "vllm_xargs",
    "lora_request",
    "session_params",
    "input_ids",
    "prompt_token_ids",
)
"""Fields that change the answer in ways a token-in/token-out request has no place for, or that only one
engine has."""
_HARMLESS: Final[Mapping[str, Any]] = {"best_of": 1, "length_penalty": 1, "top_p_min": 0}
"""What such a field may say, because it is what happens anyway; all may be null, false or empty."""
_PASSED: Final = (
    "cache_salt",
    "priority",
    "kv_transfer_params",
    "bootstrap_host",
    "bootstrap_port",
    "bootstrap_room",
    "nvext",
    "routing",
    "router_config_override",
)
"""Fields that mean the same below, to routing or to the engine."""
_SGLANG_ALONE: Final = ("extra_key", "lora_path")
"""SGLang's own: what else blocks are told apart by, and an adapter."""
_SGLANG_NAMES: Final = {
    "seed": "sampling_seed",
    "min_tokens": "min_new_tokens",
    "max_tokens": "max_new_tokens",
}
_SGLANG_LACKS: Final = ("bad_words", "allowed_token_ids", "thinking_token_budget")
_TRTLLM_LACKS: Final = ("bad_words", "allowed_token_ids")
_COMPLETION_TOKENS: Final = 16
"""OpenAI's ``max_tokens`` of a completion that names none."""
_MAX_STOPS: Final = 64
"""Each is compared with every piece of text; OpenAI allows four."""
_MAX_CHOICES: Final = 128
"""OpenAI's bound on ``n``; each choice has a decoder and parsers of its own."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the answer is to be generated and cut."""

    params: JsonDict
    """Sampling parameters under vLLM's names, as far as given."""
    stops: tuple[str, ...] = ()
    """Stop strings; matched here, because only here is text."""
    include_stop: bool = False
    skip_special: bool = True
    constraint: JsonDict | None = None
    logprobs: int | None = None
    """Alternatives per token; None: no log-probabilities."""
    choices: int = 1
    min_tokens: int = 0
    stop_token_ids: frozenset[int] = frozenset()


def read_sampling(body: Body, nvext: NvExtRequest, plan: ToolPlan, *, chat: bool) -> Sampling:
    """Everything of a body that concerns generation. Raises ApiError (400)."""
    for name in _REFUSED:
        if _asks(name, body.get(name, object)):
            raise bad_request(f"`{name}` is not supported with frontend postprocessing.")
    params = {
        name: value for name, kind in _PARAMETERS.items() if (value := body.get(name, kind)) is not None
    }
    params |= _limits(body, nvext, chat=chat)
    constraint = plan.constraint()
    choices = params.get("n", 1)
    if not 1 <= choices <= _MAX_CHOICES:
        raise bad_request(f"`n` must be between 1 and {_MAX_CHOICES}.")
    return Sampling(
        params,
        _stops(body),
        include_stop=body.get("include_stop_str_in_output", bool) or False,
        skip_special=body.get("skip_special_tokens", bool) is not False,
        constraint={"json": constraint} if constraint is not None else read_constraint(body),
        logprobs=_logprobs(body, chat=chat),
        choices=choices,
        min_tokens=params.get("min_tokens", 0),
        stop_token_ids=frozenset(params.get("stop_token_ids", ())),
    )


def _asks(name: str, value: object) -> bool:
    """Whether the field asks for what would not happen anyway."""
    nothing = value is None or value is False or value in ("", [], {})
    return not nothing and value != _HARMLESS.get(name)


def _limits(body: Body, nvext: NvExtRequest, *, chat: bool) -> JsonDict:
    limits: JsonDict = {}
    most = (body.get("max_completion_tokens", int) if chat else None) or body.get("max_tokens", int)
    if most is None and not chat:
        most = _COMPLETION_TOKENS
    if most is not None:
        if most < 1:
            raise bad_request("`max_tokens` must be at least 1.")
        limits["max_tokens"] = most
    thinking = nvext.max_thinking_tokens
    if thinking is None:
        thinking = body.get("thinking_token_budget", int)
    if thinking is not None:
        limits["thinking_token_budget"] = thinking
    return limits | ({"temperature": 0.0} if nvext.greedy else {})


def _stops(body: Body) -> tuple[str, ...]:
    given = body.get("stop", cast("type[str | list[str]]", str | list[str])) or []
    stops = (given,) if isinstance(given, str) else tuple(given)
    if len(stops) > _MAX_STOPS or "" in stops:
        raise bad_request(f"`stop` must hold at most {_MAX_STOPS} texts, none of them empty.")
    return stops


def _logprobs(body: Body, *, chat: bool) -> int | None:
    if not chat:
        return body.get("logprobs", int)
    if not body.get("logprobs", bool):
        return None
    return body.get("top_logprobs", int) or 0


# --- the engines' requests -----------------------------------------------------------------------------


def token_body(
    kind: EngineKind, sampling: Sampling, prompt: Sequence[int], body: Body, adapter: str = ""
) -> Body:
    """The request for an engine of ``kind``, streamed always: stop strings have to end it early, and a lost
    worker's tokens must be at hand. ``adapter``: the LoRA adapter the model's name means; empty: none. Raises
    ApiError (400) for what that engine cannot do."""
    passed, own = _raw(body, _PASSED), _raw(body, _SGLANG_ALONE)
    if own and kind is not EngineKind.SGLANG:
        raise bad_request(f"`{next(iter(own))}` is supported with SGLang workers only.")
    model = body.raw("model")
    named = {} if model is None else {"model": msgspec.Raw(model)}
    fields: JsonDict = {FORMS[kind].ids: prompt, "stream": True}
    if kind is EngineKind.VLLM:
        fields |= {**named, **passed, **_vllm(sampling)}
    elif kind is EngineKind.SGLANG:
        # its form knows no model: an adapter that is not named here would be the base model's answer
        fields |= {**passed, **({"lora_path": adapter} if adapter else {}), **own, **_sglang(sampling)}
    elif adapter:
        raise bad_request("Adapters are not supported with TensorRT-LLM workers and frontend postprocessing.")
    else:
        fields |= {**named, **_trtllm(sampling)}
    return Body.of(fields)


def _raw(body: Body, names: Sequence[str]) -> dict[str, msgspec.Raw]:
    return {name: msgspec.Raw(raw) for name in names if (raw := body.raw(name)) not in (None, b"null")}


def _vllm(sampling: Sampling) -> JsonDict:
    params = sampling.params | {"detokenize": False}
    if sampling.constraint is not None:
        params["structured_outputs"] = sampling.constraint
    if sampling.logprobs is not None:
        params["logprobs"] = sampling.logprobs
    return {"sampling_params": params, "stream_options": {"include_usage": True}}


def _sglang(sampling: Sampling) -> JsonDict:
    _lacking(sampling, _SGLANG_LACKS, "SGLang")
    params = {_SGLANG_NAMES.get(name, name): value for name, value in sampling.params.items()}
    params.setdefault("max_new_tokens", None)  # without the field SGLang stops at 128
    if params.get("top_k") == 0:
        params["top_k"] = -1
    if sampling.constraint is not None:
        params |= for_sglang(sampling.constraint)
    if sampling.logprobs is None:
        return {"sampling_params": params}
    return {"sampling_params": params, "return_logprob": True, "top_logprobs_num": sampling.logprobs}


def _trtllm(sampling: Sampling) -> JsonDict:
    _lacking(sampling, _TRTLLM_LACKS, "TensorRT-LLM")
    if sampling.logprobs is not None:
        raise bad_request(
            "`logprobs` are not supported with TensorRT-LLM workers and frontend postprocessing."
        )
    fields = sampling.params | {
        "detokenize": False,
        "add_special_tokens": False,
        "stream_options": {"include_usage": True},
    }
    if fields.get("top_k") == -1:
        fields["top_k"] = 0  # how it writes "all"
    if sampling.constraint is not None:
        fields["response_format"] = for_trtllm(sampling.constraint)
    return fields


def _lacking(sampling: Sampling, names: Sequence[str], engine: str) -> None:
    for name in names:
        if name in sampling.params:
            raise bad_request(f"`{name}` is not supported with {engine} workers.")
