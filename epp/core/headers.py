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

STEERING_FAMILIES: Final = (
    "x-data-parallel-",
    "x-dynamo-",
    "x-encoder-",
    "x-epp-",
    "x-gateway-inference-",
    "x-kv-cache-source-",
    "x-llm-d-",
    "x-prefill-",
    "x-prefiller-",
)
"""How names begin by which workers, sidecars beside them and other pickers are steered: ours, Dynamo's and
llm-d's. Families, for a sidecar may learn a further name at any time."""
STEERING: Final = frozenset({"x-dp-rank", "x-gateway-model-name-rewrite", "x-worker-instance-id"})
"""Names outside the families that do the same."""
CLIENT_WORDS: Final = frozenset(
    {
        "x-dynamo-parent-session-id",
        "x-dynamo-session-final",
        "x-dynamo-session-id",
        "x-llm-d-slo-tpot-ms",
        "x-llm-d-slo-ttft-ms",
        "x-llm-d-video-duration-seconds",
        "x-llm-d-video-fps",
        "x-llm-d-video-resolution",
    }
)
"""Names of the families that are a client's to say: they speak of its own request, and cost nobody else."""

_FRAMING: Final = frozenset({"content-length", "transfer-encoding", "connection", "host", "te", "upgrade"})


def steering(headers: Iterable[str]) -> set[str]:
    """Those names (in lower case) that steer a worker or a sidecar; believed only of trusted clients."""
    found = {name for name in headers if name.startswith(STEERING_FAMILIES)} - CLIENT_WORDS
    return found | STEERING.intersection(headers)


def untrusted(headers: Mapping[str, str], *, trust_client: bool) -> tuple[str, ...]:
    """Names in ``headers`` to hide from the engine and to remove from the request."""
    found = GATEWAY_ONLY.intersection(headers)
    return tuple(sorted(found if trust_client else found | steering(headers)))


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
