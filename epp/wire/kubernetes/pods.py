"""Pods to endpoints: one per pod and target port.

What the API does not say of a worker (role, engine, ranks, ports of its event streams) is read from labels,
annotations and named container ports. Names used by llm-d, the Gateway API Inference Extension and Dynamo are
understood; ours begin with ``epp/``, may be label or annotation, and go first (the table is in
docs/kubernetes.md). A value that cannot be used is told as a problem, and the worker serves as if it were
not there.
"""

import ipaddress
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import msgspec

from epp.core.blocks import worker_id_of
from epp.core.endpoints import Endpoint, EngineKind
from epp.wire.endpointsfile import MAX_DP_SIZE
from epp.wire.kubernetes.api import ApiFormatError, ObjectMeta, decode
from epp.wire.kubernetes.hints import (
    ACTIVE_PORTS,
    NAMESPACE,
    Hints,
    engine_of,
    is_hint,
    role_of,
)

KV_EVENTS_PORT_NAME: Final = "kv-events"
KV_REPLAY_PORT_NAME: Final = "kv-replay"
_PORT_NAMES: Final = frozenset({KV_EVENTS_PORT_NAME, KV_REPLAY_PORT_NAME})
_OVER: Final = frozenset({"Succeeded", "Failed"})
_METRICS_PATHS: Final = {EngineKind.TRTLLM: "/prometheus/metrics"}
"""Where the Prometheus page is, if not at ``/metrics`` (``trtllm-serve`` has JSON there)."""


class _ContainerPort(msgspec.Struct, frozen=True, rename="camel"):
    name: str = ""
    container_port: int = 0


class _Container(msgspec.Struct, frozen=True):
    ports: tuple[_ContainerPort, ...] | None = None


class _Spec(msgspec.Struct, frozen=True, rename="camel"):
    containers: tuple[_Container, ...] | None = None
    init_containers: tuple[_Container, ...] | None = None
    """Sidecars are declared here."""


class _Condition(msgspec.Struct, frozen=True):
    type: str = ""
    status: str = ""


class _Address(msgspec.Struct, frozen=True):
    ip: str = ""


class _Status(msgspec.Struct, frozen=True):
    phase: str = ""
    pod_ip: str = msgspec.field(name="podIP", default="")
    pod_ips: tuple[_Address, ...] | None = msgspec.field(name="podIPs", default=None)
    conditions: tuple[_Condition, ...] | None = None


class _PodObject(msgspec.Struct, frozen=True):
    metadata: ObjectMeta = ObjectMeta()
    spec: _Spec = _Spec()
    status: _Status = _Status()


@dataclass(frozen=True, slots=True)
class Pod:
    """What is kept of a pod."""

    namespace: str
    name: str
    created: str
    """RFC 3339, so that text order is time order."""
    address: str | None
    """The primary address in its canonical form, without brackets; None: it has none yet."""
    serves: bool
    """Ready, not ending, and with an address."""
    labels: Mapping[str, str]
    hints: Mapping[str, str]
    """The annotations and labels that say something of a worker; annotations go first."""
    ports: Mapping[str, int]
    """Container ports with a name that means something here."""


@dataclass(frozen=True, slots=True)
class Workers:
    """What a pod is to the picker."""

    endpoints: tuple[Endpoint, ...]
    problems: tuple[str, ...]
    """One sentence for every value that could not be used."""


def read_pod(data: bytes | msgspec.Raw) -> Pod:
    """A pod object; raises ApiFormatError."""
    pod = decode(data, _PodObject)
    meta, status = pod.metadata, pod.status
    if not meta.name:
        raise ApiFormatError("a pod without a name")
    labels = meta.labels or {}
    noted = {key: value for key, value in {**labels, **(meta.annotations or {})}.items() if is_hint(key)}
    address = _address(status)
    ready = any(c.type == "Ready" and c.status == "True" for c in status.conditions or ())
    ending = meta.deletion_timestamp is not None or status.phase in _OVER
    return Pod(
        namespace=meta.namespace or "default",
        name=meta.name,
        created=meta.creation_timestamp or "",
        address=address,
        serves=ready and not ending and address is not None,
        labels=MappingProxyType(labels),
        hints=MappingProxyType(noted),
        ports=MappingProxyType(dict(_named_ports(pod.spec))),
    )


def workers_of(pod: Pod, target_ports: tuple[int, ...], kv_events_port: int | None = None) -> Workers:
    """The endpoints of a pod; none if it does not serve.

    ``kv_events_port`` is where the event streams of pods begin that say nothing themselves; None: they have
    none. Endpoint *i* of a pod uses the ports that lie *i* times its number of ranks behind the first one, as
    engines with one server per rank do.
    """
    if not pod.serves or pod.address is None:
        return Workers((), ())
    hints = Hints(pod.hints)
    active = _active(hints, target_ports)
    make = _Maker(pod, pod.address, hints, kv_events_port, len(target_ports))
    endpoints = tuple(make.endpoint(i, port) for i, port in enumerate(target_ports) if port in active)
    where = f"pod {pod.namespace}/{pod.name}"
    return Workers(endpoints, tuple(f"{where}: {problem}" for problem in hints.problems))


class _Maker:
    """Makes the endpoints of one pod, which differ in their ports alone."""

    def __init__(
        self, pod: Pod, address: str, hints: Hints, kv_events_port: int | None, target_ports: int
    ) -> None:
        self._pod = pod
        self._address = address
        self._host = f"[{address}]" if ":" in address else address
        self._several = target_ports > 1
        self._namespace = (hints.first((NAMESPACE,)) or ("", pod.namespace))[1]
        self._role = role_of(hints)
        self._engine = engine_of(hints)
        self._dp_size = hints.number("epp/dp-size", 1, MAX_DP_SIZE) or 1
        spread = self._dp_size * target_ports
        declared = pod.ports.get(KV_EVENTS_PORT_NAME, kv_events_port)
        self._events_port = hints.port("epp/kv-events-port", declared, spread)
        self._replay_port = hints.port("epp/kv-replay-port", pod.ports.get(KV_REPLAY_PORT_NAME), spread)
        self._bootstrap_port = hints.port("epp/bootstrap-port", None, target_ports)
        self._metrics_port = hints.port("epp/metrics-port", None, target_ports)
        self._metrics_path = hints.path("epp/metrics-path", _METRICS_PATHS.get(self._engine, "/metrics"))
        self._metrics_scheme = (
            hints.choice("epp/metrics-scheme", {"http": "http", "https": "https"}) or "http"
        )

    def endpoint(self, index: int, port: int) -> Endpoint:
        """The endpoint behind target port number ``index``."""
        pod = self._pod
        name = f"{pod.name}-{port}" if self._several else pod.name
        return Endpoint(
            name=name,
            address=self._address,
            port=port,
            worker_id=worker_id_of(self._namespace, name),
            namespace=self._namespace,
            role=self._role,
            engine=self._engine,
            dp_size=self._dp_size,
            labels=pod.labels,
            kv_events=self._events(index),
            kv_replay=self._stream(self._replay_port, index),
            metrics=self._metrics(index, port),
            bootstrap=None
            if self._bootstrap_port is None
            else f"{self._host}:{self._bootstrap_port + index}",
        )

    def _events(self, index: int) -> str | None:
        """TensorRT-LLM hands its events out over HTTP, on the port it serves on."""
        if self._engine is EngineKind.TRTLLM and self._events_port is not None:
            return f"http://{self._host}:{self._events_port + index}"
        return self._stream(self._events_port, index)

    def _stream(self, first: int | None, index: int) -> str | None:
        return None if first is None else f"tcp://{self._host}:{first + index * self._dp_size}"

    def _metrics(self, index: int, port: int) -> str:
        at = port if self._metrics_port is None else self._metrics_port + index
        return f"{self._metrics_scheme}://{self._host}:{at}{self._metrics_path}"


def _address(status: _Status) -> str | None:
    """The primary address: ``podIP``, which is also the first of ``podIPs``."""
    for text in (status.pod_ip, *(address.ip for address in status.pod_ips or ())):
        try:
            return str(ipaddress.ip_address(text))
        except ValueError:
            continue
    return None


def _named_ports(spec: _Spec) -> Iterator[tuple[str, int]]:
    for container in (*(spec.init_containers or ()), *(spec.containers or ())):
        for port in container.ports or ():
            if port.name in _PORT_NAMES and 1 <= port.container_port <= 65535:
                yield port.name, port.container_port


def _active(hints: Hints, target_ports: tuple[int, ...]) -> frozenset[int]:
    """The target ports a pod serves on: all, or those its annotation names; it may name none."""
    named = hints.first(ACTIVE_PORTS)
    if named is None:
        return frozenset(target_ports)
    key, text = named
    parts = (part.strip() for part in text.split(","))
    active = {int(part) for part in parts if part.isdecimal() and len(part) <= 5}
    if text and not active & set(target_ports):
        hints.problems.append(f"{key} names none of the target ports: {text[:64]!r}")
    return frozenset(active)
