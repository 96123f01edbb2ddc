"""Endpoints: what a pool is made of, as immutable values.

An *endpoint* is one address that serves inference (``ip:port``). It is one *worker*, known to every
other part by its ``worker_id`` (a u64), and has one or more data-parallel *ranks*. The unit of choice
is (worker, rank). Discovery publishes a new :class:`PoolSnapshot` for every change; a pick reads
exactly one snapshot and so sees one consistent world.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import NamedTuple


def _no_labels() -> Mapping[str, str]:
    return MappingProxyType({})


class Role(StrEnum):
    """Which part of a request a worker does."""

    AGGREGATED = "aggregated"
    PREFILL = "prefill"
    DECODE = "decode"
    ENCODE = "encode"


class EngineKind(StrEnum):
    """Which model server runs behind an endpoint; decides metric names and event forms."""

    VLLM = "vllm"
    SGLANG = "sglang"
    TRTLLM = "trtllm"
    TRITON_TRTLLM = "triton-trtllm"
    TRITON = "triton"


class WorkerRank(NamedTuple):
    """The unit of choice: one data-parallel rank of one worker."""

    worker_id: int
    rank: int


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One model server address and what is known of it before talking to it."""

    name: str
    """Unique within ``namespace``."""
    address: str
    """IPv4 or IPv6 literal, without brackets."""
    port: int
    worker_id: int
    """u64; given, or derived from ``namespace/name`` (see ``epp.core.blocks.worker_id_of``)."""
    namespace: str = "default"
    role: Role = Role.AGGREGATED
    engine: EngineKind = EngineKind.VLLM
    dp_size: int = 1
    """Number of data-parallel ranks behind this address."""
    labels: Mapping[str, str] = field(default_factory=_no_labels)
    kv_events: str | None = None
    """ZMQ address rank 0 publishes KV events on (``tcp://ip:port``); rank r uses port + r. For
    TensorRT-LLM an ``http://`` URL. None: the worker publishes nothing."""
    kv_replay: str | None = None
    """ZMQ ROUTER address rank 0 replays events on; rank r uses port + r."""
    metrics: str | None = None
    """URL of the Prometheus page; None: ``http://<host_port>/metrics``."""
    bootstrap: str | None = None
    """``host:port`` of an SGLang prefill worker's bootstrap server."""
    host_port: str = field(init=False)
    """``ip:port``, IPv6 in brackets: the form gateways compare."""

    def __post_init__(self) -> None:
        host = f"[{self.address}]" if ":" in self.address else self.address
        object.__setattr__(self, "host_port", f"{host}:{self.port}")

    @property
    def metrics_url(self) -> str:
        """The page to scrape."""
        return self.metrics or f"http://{self.host_port}/metrics"


@dataclass(frozen=True, slots=True)
class PoolSnapshot:
    """All endpoints at one moment, ordered by worker id, with the look-ups a pick needs."""

    endpoints: tuple[Endpoint, ...]
    generation: int
    """Grows by one with every published change."""
    by_worker: Mapping[int, Endpoint]
    by_host_port: Mapping[str, Endpoint]
    by_address: Mapping[str, tuple[Endpoint, ...]]
    """All endpoints that share an IP address (one per port)."""

    @classmethod
    def of(cls, endpoints: Iterable[Endpoint], generation: int = 0) -> "PoolSnapshot":
        """Build a snapshot; raises ValueError on a duplicate worker id or address."""
        ordered = tuple(sorted(endpoints, key=lambda e: e.worker_id))
        by_worker = {e.worker_id: e for e in ordered}
        by_host_port = {e.host_port: e for e in ordered}
        if len(by_worker) != len(ordered):
            raise ValueError("two endpoints have the same worker_id")
        if len(by_host_port) != len(ordered):
            raise ValueError("two endpoints have the same address and port")
        by_address: dict[str, tuple[Endpoint, ...]] = {}
        for endpoint in ordered:
            by_address[endpoint.address] = (*by_address.get(endpoint.address, ()), endpoint)
        return cls(
            endpoints=ordered,
            generation=generation,
            by_worker=MappingProxyType(by_worker),
            by_host_port=MappingProxyType(by_host_port),
            by_address=MappingProxyType(by_address),
        )
