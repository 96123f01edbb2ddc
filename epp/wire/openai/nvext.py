"""``nvext``, Dynamo's request extension, and ``router_config_override`` beside it.

The schema is as strict as Dynamo's own (``lib/llm/src/protocols/openai/nvext.rs`` denies unknown fields at
every level): a key nobody knows is refused with the list of those allowed, so that a misspelt pin is an
error and not a silent random choice. Only the routing part is kept.
"""

import math
from typing import Annotated, Any, Final, TypeAlias

import msgspec

from epp.core.errors import BadRequestError
from epp.core.requests import NO_EXTENSION, UNCHANGED, AgentHints, NvExt, RouterOverrides
from epp.wire.openai.bounds import U32_MAX, U64_MAX, TokenId
from epp.wire.tokens import flat_tokens

_I32_MAX: Final = 2**31 - 1
_U32: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=U32_MAX)]
_I32: TypeAlias = Annotated[int, msgspec.Meta(ge=-(2**31), le=_I32_MAX)]
_U64: TypeAlias = Annotated[int, msgspec.Meta(ge=0)]  # its upper bound does not fit msgspec's own
_Weight: TypeAlias = Annotated[float, msgspec.Meta(ge=0, le=1e9)]  # the range a router takes
_Share: TypeAlias = Annotated[float, msgspec.Meta(ge=0, le=1)]


class _Strict(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """Every field optional, null means absent, anything else is an error."""


class _AgentHints(_Strict):
    priority: _I32 | None = None
    strict_priority: _U32 | None = None
    osl: _U32 | None = None
    speculative_prefill: bool | None = None
    latency_sensitivity: float | None = None


class _RoutingConstraints(_Strict):
    required_taints: list[str] | None = None
    preferred_taints: dict[str, float] | None = None


class _RouterTargets(_Strict):
    ttft_target: float | None = None
    itl_target: float | None = None


class _MetadataUpload(_Strict):
    url: str


class NvExtFields(_Strict):
    """``nvext`` as sent, its 17 fields typed."""

    greed_sampling: bool | None = None
    use_raw_prompt: bool | None = None
    annotations: list[str] | None = None
    backend_instance_id: _U64 | None = None
    token_data: list[TokenId] | None = None
    max_thinking_tokens: _U32 | None = None
    cache_salt: str | None = None
    extra_fields: list[str] | None = None
    metadata_upload: _MetadataUpload | None = None
    prefill_worker_id: _U64 | None = None
    decode_worker_id: _U64 | None = None
    dp_rank: _U32 | None = None
    prefill_dp_rank: _U32 | None = None
    agent_hints: _AgentHints | None = None
    request_timestamp_ms: float | None = None
    routing_constraints: _RoutingConstraints | None = None
    router: _RouterTargets | None = None


class OverrideFields(msgspec.Struct, gc=False):
    """``router_config_override`` as sent; unknown keys pass, as they do in Dynamo."""

    overlap_score_credit: _Weight | None = None
    prefill_load_scale: _Weight | None = None
    overlap_score_weight: _Weight | None = None
    router_temperature: _Weight | None = None
    assume_kv_reuse: bool | None = None
    track_prefill_tokens: bool | None = None
    shared_cache_multiplier: _Share | None = None


_ALLOWED: Final[dict[str, type[msgspec.Struct]]] = {
    "nvext": NvExtFields,
    "nvext.agent_hints": _AgentHints,
    "nvext.routing_constraints": _RoutingConstraints,
    "nvext.router": _RouterTargets,
    "nvext.metadata_upload": _MetadataUpload,
}
_NO_HINTS: Final = AgentHints()


def allowed_fields(path: str) -> tuple[str, ...]:
    """The keys of the strict object at ``path``; empty: the object is not one of ``nvext``'s."""
    fields = _ALLOWED.get(path)
    return fields.__struct_fields__ if fields else ()


def routing_part(sent: NvExtFields | None, overrides: OverrideFields | None) -> NvExt:
    """What routing keeps of both; raises BadRequestError for a worker id beyond 64 bits."""
    if sent is None:
        return NvExt(overrides=_overrides(overrides)) if overrides else NO_EXTENSION
    constraints = sent.routing_constraints or _RoutingConstraints()
    targets = sent.router or _RouterTargets()
    return NvExt(
        token_data=None if sent.token_data is None else flat_tokens(sent.token_data),
        backend_instance_id=_worker_id(sent.backend_instance_id, "backend_instance_id"),
        prefill_worker_id=_worker_id(sent.prefill_worker_id, "prefill_worker_id"),
        decode_worker_id=_worker_id(sent.decode_worker_id, "decode_worker_id"),
        dp_rank=_rank(sent.dp_rank),
        prefill_dp_rank=_rank(sent.prefill_dp_rank),
        cache_salt=sent.cache_salt,
        annotations=tuple(sent.annotations or ()),
        agent_hints=_hints(sent.agent_hints) if sent.agent_hints else _NO_HINTS,
        required_taints=frozenset(constraints.required_taints or ()),
        preferred_taints=tuple((constraints.preferred_taints or {}).items()),
        overrides=_overrides(overrides),
        use_raw_prompt=bool(sent.use_raw_prompt),
        ttft_target_ms=targets.ttft_target,
        itl_target_ms=targets.itl_target,
    )


def _worker_id(value: int | None, field: str) -> int | None:
    if value is not None and value > U64_MAX:
        raise BadRequestError(f"Field `nvext.{field}`: expected `int` <= {U64_MAX}.")
    return value


def _rank(value: int | None) -> int | None:
    """Dynamo writes the largest u32 for "no rank"."""
    return None if value == U32_MAX else value


def _hints(sent: _AgentHints) -> AgentHints:
    """``latency_sensitivity`` is the deprecated name of ``priority``, and never lowers it."""
    priority = sent.priority
    if priority is None and sent.latency_sensitivity is not None:
        priority = math.floor(min(max(sent.latency_sensitivity, 0.0), float(_I32_MAX)))
    return AgentHints(
        priority=priority, strict_priority=sent.strict_priority, expected_output_tokens=sent.osl
    )


def _overrides(sent: OverrideFields | None) -> RouterOverrides:
    """``overlap_score_weight`` is the deprecated name of ``prefill_load_scale``; 0 also ended the credit."""
    if sent is None:
        return UNCHANGED
    weight = sent.overlap_score_weight
    changes: dict[str, Any] = {
        "overlap_credit": sent.overlap_score_credit,
        "prefill_load_scale": sent.prefill_load_scale,
        "temperature": sent.router_temperature,
        "assume_kv_reuse": sent.assume_kv_reuse,
        "track_prefill_tokens": sent.track_prefill_tokens,
    }
    if weight is not None and sent.prefill_load_scale is None:
        changes["prefill_load_scale"] = weight
    if weight == 0 and sent.overlap_score_credit is None:
        changes["overlap_credit"] = 0.0
    return RouterOverrides(**changes)
