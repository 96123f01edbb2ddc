"""What a request asks of routing, once its headers and its body have been weighed against each other."""

from msgspec import Struct

from epp.core.endpoints import WorkerRank
from epp.core.requests import UNCHANGED, RouterOverrides

ANY_RANK = -1
"""Rank of a pin that names only a worker."""


class RoutingHeaders(Struct, frozen=True):
    """The routing headers of a request as sent; None: absent or unreadable."""

    tenant: str | None = None
    priority: int | None = None
    """Higher is more important."""
    strict_priority: int | None = None
    policy_class: str | None = None
    meta_policy_class: str | None = None
    session_id: str | None = None
    parent_session_id: str | None = None
    session_final: bool = False
    """The client says that no further request of this session will come."""
    worker_id: int | None = None
    dp_rank: int | None = None
    prefill_worker_id: int | None = None
    prefill_dp_rank: int | None = None
    model_rewrite: str | None = None
    objective: str | None = None
    fairness_id: str | None = None
    ttft_slo_ms: float | None = None
    tpot_slo_ms: float | None = None
    retry_attempt: int = 0
    unreadable: tuple[tuple[str, str], ...] = ()
    """(header, reason) for each value that was ignored; the reason is one lower-case word."""


class RoutingIntent(Struct, frozen=True):
    """The outcome: what the pick goes by."""

    model: str
    """After a model rewrite."""
    salt: str = ""
    """Cache namespace; empty: the shared one."""
    priority: int = 0
    """Higher is more important; 0: nothing asked."""
    strict_priority: int = 0
    """Tier of the waiting queue; a higher one is served first, whatever the priority."""
    expected_output_tokens: int = 0
    """0: unknown."""
    pin: WorkerRank | None = None
    """Hard pin of the decode or aggregated worker."""
    prefill_pin: WorkerRank | None = None
    required_taints: frozenset[str] = frozenset()
    preferred_taints: tuple[tuple[str, float], ...] = ()
    overrides: RouterOverrides = UNCHANGED
    session_id: str | None = None
    parent_session_id: str | None = None
    session_final: bool = False
    policy_class: str | None = None
    meta_policy_class: str | None = None
    objective: str | None = None
    fairness_id: str | None = None
    ttft_slo_ms: float | None = None
    tpot_slo_ms: float | None = None
    retry_attempt: int = 0
    query_only: bool = False
    """The client wants to know the choice, not to have the request served (``query_instance_id:``)."""
    bypass_prefill: bool = False
    """The client wants no separate prefill worker (``x-bypass-remote-prefill``)."""
