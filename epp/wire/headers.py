"""Routing headers, and their precedence over the body.

Names and meanings are Dynamo's (``x-dynamo-*`` with its legacy aliases) and the Endpoint Picker Protocol's
(``x-llm-d-*``, and ``x-gateway-*`` before that). A canonical name beats its aliases. A value that cannot be
read counts as absent and is reported, so that a broken client shows in the metrics and is served all the
same. Precedence is tabled in docs/requests.md.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

from epp.core.endpoints import WorkerRank
from epp.core.intent import ANY_RANK, RoutingHeaders, RoutingIntent
from epp.core.requests import NO_EXTENSION, InferenceRequest, NvExt
from epp.wire.headervalues import HeaderValues

_I32: Final = range(-(2**31), 2**31)
_U32: Final = range(2**32)
_U64: Final = range(2**64)
_TRUE: Final = frozenset({"1", "true", "yes", "on"})

_WORKER: Final = ("x-dynamo-worker-instance-id", "x-worker-instance-id")
_RANK: Final = ("x-dynamo-dp-rank", "x-dp-rank", "x-data-parallel-rank")
_PREFILL: Final = ("x-dynamo-prefill-instance-id", "x-prefill-instance-id")
_PREFILL_RANK: Final = ("x-dynamo-prefill-dp-rank", "x-prefill-dp-rank")
_MODEL: Final = ("x-llm-d-model-name-rewrite", "x-gateway-model-name-rewrite")
_OBJECTIVE: Final = ("x-llm-d-inference-objective", "x-gateway-inference-objective")
_FAIRNESS: Final = ("x-llm-d-inference-fairness-id", "x-gateway-inference-fairness-id")
_TTFT: Final = ("x-llm-d-slo-ttft-ms", "x-slo-ttft-ms")
_TPOT: Final = ("x-llm-d-slo-tpot-ms", "x-slo-tpot-ms")


class _SessionNames(NamedTuple):
    """How one client names its sessions: the conversation, a subagent in it, and who started it."""

    root: str
    child: str | None = None
    parent: str | None = None


_SESSIONS: Final = (
    _SessionNames("x-dynamo-session-id", parent="x-dynamo-parent-session-id"),
    _SessionNames(
        "x-claude-code-session-id", "x-claude-code-agent-id", parent="x-claude-code-parent-agent-id"
    ),
    _SessionNames("thread-id", parent="x-codex-parent-thread-id"),
    _SessionNames("session-id"),
    _SessionNames("x-session-id", parent="x-parent-session-id"),
)
"""The canonical names first, then Claude Code's, Codex's (two generations) and OpenCode's own."""


_CONTROL: Final = frozenset(
    {
        "x-tenant-id",
        "x-dynamo-request-priority",
        "x-dynamo-request-strict-priority",
        "x-dynamo-policy-class",
        "x-dynamo-meta-policy-class",
        "x-dynamo-session-final",
        "x-dynamo-retry-attempt",
        *(*_WORKER, *_RANK, *_PREFILL, *_PREFILL_RANK),
        *(*_MODEL, *_OBJECTIVE, *_FAIRNESS, *_TTFT, *_TPOT),
        *(name for names in _SESSIONS for name in names if name),
    }
)
"""Every name read here; most requests carry none of them."""
_SILENT: Final = RoutingHeaders()


def read_routing_headers(headers: Mapping[str, str]) -> RoutingHeaders:
    """What ``headers`` (names in lower case) say about routing. Total."""
    if _CONTROL.isdisjoint(headers):
        return _SILENT
    values = HeaderValues(headers)
    session, parent = _session(values)
    return RoutingHeaders(
        tenant=values.text("x-tenant-id"),
        priority=values.integer(_I32, "x-dynamo-request-priority"),
        strict_priority=values.integer(_U32, "x-dynamo-request-strict-priority"),
        policy_class=values.text("x-dynamo-policy-class"),
        meta_policy_class=values.text("x-dynamo-meta-policy-class"),
        session_id=session,
        parent_session_id=parent,
        session_final=(values.text("x-dynamo-session-final") or "").lower() in _TRUE,
        worker_id=values.integer(_U64, *_WORKER),
        dp_rank=values.rank(*_RANK),
        prefill_worker_id=values.integer(_U64, *_PREFILL),
        prefill_dp_rank=values.rank(*_PREFILL_RANK),
        model_rewrite=values.text(*_MODEL),
        objective=values.text(*_OBJECTIVE),
        fairness_id=values.text(*_FAIRNESS),
        ttft_slo_ms=values.milliseconds(*_TTFT),
        tpot_slo_ms=values.milliseconds(*_TPOT),
        retry_attempt=values.integer(_U32, "x-dynamo-retry-attempt") or 0,
        unreadable=tuple(values.unreadable),
    )


def merge(request: InferenceRequest, headers: RoutingHeaders, *, trusted: bool) -> RoutingIntent:
    """What the pick goes by: headers beat ``nvext``, ``nvext`` beats the body's own fields.

    ``trusted``: the sender may pin workers, raise priorities, choose queues and rewrite the model. Without
    it those wishes are dropped wherever they stand, in headers or in the body.
    """
    nvext = request.nvext
    if headers is _SILENT and nvext is NO_EXTENSION and request.priority is None:  # as most are
        return RoutingIntent(request.model, salt=request.cache_salt or "")
    believed = headers if trusted else _SILENT
    return RoutingIntent(
        model=believed.model_rewrite or request.model,
        salt=headers.tenant or nvext.cache_salt or request.cache_salt or "",
        priority=_priority(request, headers) if trusted else 0,
        strict_priority=_first(headers.strict_priority, nvext.agent_hints.strict_priority) if trusted else 0,
        expected_output_tokens=nvext.agent_hints.expected_output_tokens or 0,
        pin=_decode_pin(nvext, headers) if trusted else None,
        prefill_pin=_prefill_pin(nvext, headers) if trusted else None,
        required_taints=nvext.required_taints,
        preferred_taints=nvext.preferred_taints,
        overrides=nvext.overrides,
        session_id=headers.session_id,
        parent_session_id=headers.parent_session_id,
        session_final=headers.session_final,
        policy_class=believed.policy_class,
        meta_policy_class=believed.meta_policy_class,
        objective=believed.objective,
        fairness_id=believed.fairness_id,
        ttft_slo_ms=nvext.ttft_target_ms if headers.ttft_slo_ms is None else headers.ttft_slo_ms,
        tpot_slo_ms=nvext.itl_target_ms if headers.tpot_slo_ms is None else headers.tpot_slo_ms,
        retry_attempt=headers.retry_attempt,
        query_only=_asks_only(nvext.annotations),
        bypass_prefill="x-bypass-remote-prefill" in nvext.annotations,
    )


def _session(values: HeaderValues) -> tuple[str | None, str | None]:
    """(session, parent session) by the first client whose names are present.

    A subagent's session is its own id, and the conversation is its parent unless it names a nearer one.
    """
    for names in _SESSIONS:
        root = values.text(names.root)
        if root is None:
            continue
        child = values.text(names.child) if names.child else None
        session = child or root
        parent = values.text(names.parent) if names.parent else None
        if names.child:
            parent = (parent or root) if session != root else None
        return session, None if parent == session else parent
    return None, None


def _asks_only(annotations: tuple[str, ...]) -> bool:
    return bool(annotations) and any(a.startswith("query_instance_id:") for a in annotations)


def _priority(request: InferenceRequest, headers: RoutingHeaders) -> int:
    """Header, then agent hint, then the engine's own field, whose lower values come first in vLLM."""
    engine = None if request.priority is None else -request.priority
    return _first(headers.priority, request.nvext.agent_hints.priority, engine)


def _first(*values: int | None) -> int:
    return next((value for value in values if value is not None), 0)


def _decode_pin(nvext: NvExt, headers: RoutingHeaders) -> WorkerRank | None:
    named = (headers.worker_id, nvext.decode_worker_id, nvext.backend_instance_id)
    worker = next((value for value in named if value is not None), None)
    return _pin(worker, nvext.dp_rank if headers.dp_rank is None else headers.dp_rank)


def _prefill_pin(nvext: NvExt, headers: RoutingHeaders) -> WorkerRank | None:
    worker = nvext.prefill_worker_id if headers.prefill_worker_id is None else headers.prefill_worker_id
    return _pin(worker, nvext.prefill_dp_rank if headers.prefill_dp_rank is None else headers.prefill_dp_rank)


def _pin(worker: int | None, rank: int | None) -> WorkerRank | None:
    """A rank without a worker pins nothing: ranks are numbered per worker."""
    return None if worker is None else WorkerRank(worker, ANY_RANK if rank is None else rank)
