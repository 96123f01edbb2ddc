"""InferencePool objects: which pods belong to a pool, and on which ports they serve.

Two versions are in use: ``inference.networking.k8s.io/v1`` (``selector.matchLabels``, ``targetPorts``) and
the older ``inference.networking.x-k8s.io/v1alpha2`` (a flat ``selector``, one ``targetPortNumber``); both are
described at https://gateway-api-inference-extension.sigs.k8s.io/api-types/inferencepool/.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import msgspec

from epp.wire.kubernetes.api import ApiFormatError, ObjectMeta, decode, selector_text

PLURAL: Final = "inferencepools"
GROUP_V1: Final = "inference.networking.k8s.io"
GROUP_V1ALPHA2: Final = "inference.networking.x-k8s.io"
MAX_TARGET_PORTS: Final = 8
_MAX_PORT: Final = 65535


@dataclass(frozen=True, slots=True)
class Pool:
    """What a pool says of its workers."""

    selector: str
    """As the API's ``labelSelector``; never empty, for that would be every pod."""
    target_ports: tuple[int, ...]
    """1 to 8 different ports; each is an endpoint of every pod."""


class _Selector(msgspec.Struct, frozen=True, rename="camel"):
    match_labels: dict[str, str] | None = None


class _TargetPort(msgspec.Struct, frozen=True):
    number: int = 0


class _SpecV1(msgspec.Struct, frozen=True, rename="camel"):
    selector: _Selector = _Selector()
    target_ports: tuple[_TargetPort, ...] | None = None


class _PoolV1(msgspec.Struct, frozen=True):
    metadata: ObjectMeta = ObjectMeta()
    spec: _SpecV1 = _SpecV1()


class _SpecV1Alpha2(msgspec.Struct, frozen=True, rename="camel"):
    selector: dict[str, str] | None = None
    target_port_number: int = 0


class _PoolV1Alpha2(msgspec.Struct, frozen=True):
    metadata: ObjectMeta = ObjectMeta()
    spec: _SpecV1Alpha2 = _SpecV1Alpha2()


def version_of(group: str) -> str:
    """The version of InferencePool that is read in an API group."""
    return "v1alpha2" if group == GROUP_V1ALPHA2 else "v1"


def read_pool(data: bytes | msgspec.Raw, group: str) -> Pool:
    """A pool object of one API group; raises ApiFormatError that says what is wrong."""
    if group == GROUP_V1ALPHA2:
        old = decode(data, _PoolV1Alpha2).spec
        return make_pool(old.selector or {}, (old.target_port_number,))
    spec = decode(data, _PoolV1).spec
    return make_pool(spec.selector.match_labels or {}, tuple(port.number for port in spec.target_ports or ()))


def make_pool(labels: Mapping[str, str], target_ports: tuple[int, ...]) -> Pool:
    """A pool of checked parts; raises ApiFormatError."""
    if not labels:
        raise ApiFormatError("the selector is empty")
    if not 1 <= len(target_ports) <= MAX_TARGET_PORTS:
        raise ApiFormatError(f"{len(target_ports)} target ports; 1 to {MAX_TARGET_PORTS} are possible")
    if len(set(target_ports)) != len(target_ports):
        raise ApiFormatError("a target port stands twice")
    if not all(1 <= port <= _MAX_PORT for port in target_ports):
        raise ApiFormatError(f"target ports must be numbers from 1 to {_MAX_PORT}")
    try:
        return Pool(selector_text(labels), target_ports)
    except ValueError as error:
        raise ApiFormatError(f"the selector is wrong: {error}") from error
