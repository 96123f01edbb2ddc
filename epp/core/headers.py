"""Header and metadata names of the Endpoint Picker Protocol, and which of them a client may not write."""

from collections.abc import Iterable, Mapping
from typing import Final

from epp.core.outcomes import HeaderPairs

DESTINATION: Final = "x-gateway-destination-endpoint"
"""Request header and ``envoy.lb`` metadata key: where the request goes."""
SERVED: Final = "x-gateway-destination-endpoint-served"
"""``envoy.lb`` metadata key on response messages: who answered."""
SUBSET: Final = "x-gateway-destination-endpoint-subset"
"""Metadata key of the hint, in :data:`SUBSET_NAMESPACE`."""
SUBSET_NAMESPACE: Final = "envoy.lb.subset_hint"
LB_NAMESPACE: Final = "envoy.lb"
REQUEST_ID: Final = "x-request-id"
MODEL_REWRITE: Final = "x-llm-d-model-name-rewrite"
"""Request header: the model to use instead. Response header: the model that was used instead."""
DROP_REASON: Final = "x-llm-d-request-dropped-reason"
CONFORMANCE_SELECTION: Final = "test-epp-endpoint-selection"
CONFORMANCE_SERVED: Final = "x-conformance-test-served-endpoint"

GATEWAY_ONLY: Final = frozenset({DESTINATION, SERVED, SUBSET})
"""The gateway's and the picker's words: as headers of a client they are never believed."""

CLIENT_PINS: Final = frozenset(
    {
        "x-dynamo-dp-rank",
        "x-dynamo-prefill-dp-rank",
        "x-dynamo-prefill-instance-id",
        "x-dynamo-routing-mode",
        "x-dynamo-worker-instance-id",
        "x-data-parallel-rank",
        "x-dp-rank",
        "x-gateway-inference-fairness-id",
        "x-gateway-inference-objective",
        "x-gateway-model-name-rewrite",
        "x-prefill-dp-rank",
        "x-prefill-instance-id",
        "x-prefiller-host-port",
        "x-worker-instance-id",
    }
)
"""Worker pins and control headers, believed only when clients are trusted."""

_FRAMING: Final = frozenset({"content-length", "transfer-encoding", "connection", "host", "te", "upgrade"})


def untrusted(headers: Mapping[str, str], *, trust_client: bool) -> tuple[str, ...]:
    """Names in ``headers`` to hide from the engine and to remove from the request."""
    found = headers.keys() & GATEWAY_ONLY
    if not trust_client:
        found |= headers.keys() & CLIENT_PINS
    return tuple(sorted(found))


def settable(pairs: Iterable[tuple[str, str]]) -> HeaderPairs:
    """The pairs a picker may set: no framing, no pseudo-headers, none of Envoy's own, no control bytes.

    Framing is the gateway's: a wrong ``content-length`` or ``transfer-encoding`` truncates bodies.
    """
    return tuple((name.lower(), value) for name, value in pairs if _is_settable(name.lower(), value))


def is_removable(name: str) -> bool:
    """Whether a picker may take a header away; the destination is overwritten, never removed."""
    return (
        bool(name) and name not in _FRAMING and name != DESTINATION and not name.startswith((":", "x-envoy"))
    )


def _is_settable(name: str, value: str) -> bool:
    return is_removable(name) and name.isprintable() and " " not in name and value.isprintable()


def last_entry(value: str) -> str:
    """The last entry of a comma list: of several attempts, the one that answered."""
    return value.rpartition(",")[2].strip()
