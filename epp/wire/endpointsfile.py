"""The endpoints file: YAML or JSON bytes to endpoints.

The format is that of llm-d's file discovery (``name``, ``namespace``, ``address``, ``port``, ``labels``) plus
optional fields of ours; docs/workers.md describes all of them. Engine and role may also be given as
llm-d's labels. A field nobody knows is an error, because a misspelt one would otherwise be a silent default.
"""

import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final, TypeVar

import msgspec

from epp.core.blocks import worker_id_of
from epp.core.endpoints import Endpoint, EngineKind, Role
from epp.wire.untyped import as_list, as_mapping
from epp.wire.urls import parse_url
from epp.wire.yamltext import read_yaml
from epp.wire.zmqframes import rank_address

MAX_FILE_BYTES: Final = 4 * 1024 * 1024
"""About twenty thousand endpoints; llm-d stops at 1 MiB."""
MAX_DP_SIZE: Final = 1024

_MAX_DEPTH: Final = 16
"""Levels of nesting; the format has four."""
_MAX_PORT: Final = 65535
_MAX_U64: Final = (1 << 64) - 1
_HOST_LABEL: Final = r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_HOST: Final = re.compile(rf"(?=.{{1,253}}\Z){_HOST_LABEL}(\.{_HOST_LABEL})*\.?")
_NAME: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?")
_FIELDS: Final = frozenset({
    "name", "namespace", "address", "port", "labels",  # llm-d's
    "worker_id", "role", "engine", "dp_size", "kv_events", "kv_replay", "metrics", "bootstrap",
})  # fmt: skip
_ENGINE_LABELS: Final = ("llm-d.ai/engine-type", "inference.networking.k8s.io/engine-type")
_ROLE_LABEL: Final = "llm-d.ai/role"
_LABEL_ROLES: Final = {"prefill": Role.PREFILL, "decode": Role.DECODE, "encode": Role.ENCODE}
"""Other values of llm-d's role label (``both``, ``prefill-decode``) are aggregated workers."""
_ENGINE_NAMES: Final = {
    **{kind.value: kind for kind in EngineKind},
    "trtllm-serve": EngineKind.TRTLLM,
    "triton-tensorrt-llm": EngineKind.TRITON_TRTLLM,
}
_TRTLLM_METRICS_PATH: Final = "/prometheus/metrics"

E = TypeVar("E", bound=StrEnum)


class EndpointsFileError(ValueError):
    """The file cannot be used; the text names the entry and the field."""


def parse(data: bytes) -> tuple[Endpoint, ...]:
    """All endpoints of a file, in its order; raises EndpointsFileError.

    An ``address`` may still be a host name, see :func:`is_literal`; resolving it is up to the caller.
    """
    entries = _entries(_load(data))
    endpoints = tuple(_endpoint(f"endpoints[{index}]", entry) for index, entry in enumerate(entries))
    _refuse_twins(endpoints, "name", lambda e: f"{e.namespace}/{e.name}")
    _refuse_twins(endpoints, "worker_id", lambda e: e.worker_id)
    _refuse_twins(endpoints, "address and port", lambda e: e.host_port)
    return endpoints


def parse_entry(data: bytes, where: str) -> Endpoint:
    """One endpoint as JSON; raises EndpointsFileError that begins with ``where``."""
    try:
        entry = msgspec.json.decode(data)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise EndpointsFileError(f"{where} is not JSON: {_one_line(error)}") from error
    return _endpoint(where, entry)


def is_literal(address: str) -> bool:
    """Whether an address is an IP literal, as an endpoint in a pool must have it."""
    try:
        ipaddress.ip_address(address)
    except ValueError:
        return False
    return True


def _load(data: bytes) -> Any:
    if len(data) > MAX_FILE_BYTES:
        raise EndpointsFileError(f"the file is larger than {MAX_FILE_BYTES} bytes")
    try:
        return msgspec.json.decode(data)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        pass  # not JSON: YAML, whose parser would not take JSON indented by tabs
    try:
        return read_yaml(data, max_depth=_MAX_DEPTH)
    except ValueError as error:
        raise EndpointsFileError(f"neither JSON nor YAML: {error}") from error


def _entries(document: Any) -> list[Any]:
    top = as_mapping(document) or {}
    entries = as_list(top.get("endpoints"))
    if entries is None:
        raise EndpointsFileError("the file must be a mapping with a list 'endpoints'")
    if len(top) > 1:
        raise EndpointsFileError(f"unknown top-level keys beside 'endpoints': {_listed(top)}")
    return entries


def _endpoint(where: str, value: Any) -> Endpoint:
    entry = as_mapping(value)
    if entry is None:
        raise EndpointsFileError(f"{where} is not a mapping")
    if isinstance(entry.get("name"), str):
        where += f" ({entry['name'][:64]!r})"
    unknown = entry.keys() - _FIELDS
    if unknown:
        raise EndpointsFileError(f"{where}: unknown field {_listed(unknown)}")
    try:
        return _build({key: value for key, value in entry.items() if value is not None})
    except _FieldError as error:
        raise EndpointsFileError(f"{where}: {error}") from None


class _FieldError(ValueError):
    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field} {problem}")


def _build(entry: Mapping[str, Any]) -> Endpoint:
    name = _matching(entry, "name", _NAME, None)
    namespace = _matching(entry, "namespace", _NAME, "default")
    labels = _labels(entry.get("labels", {}))
    engine = _choice(entry, "engine", _ENGINE_NAMES, _engine_by_label(labels))
    address = _address(entry)
    port = _integer(entry, "port", 1, _MAX_PORT, None)
    dp_size = _integer(entry, "dp_size", 1, MAX_DP_SIZE, 1)
    return Endpoint(
        name=name,
        address=address,
        port=port,
        worker_id=_integer(entry, "worker_id", 0, _MAX_U64, worker_id_of(namespace, name)),
        namespace=namespace,
        role=_choice(
            entry,
            "role",
            {r.value: r for r in Role},
            _LABEL_ROLES.get(labels.get(_ROLE_LABEL, ""), Role.AGGREGATED),
        ),
        engine=engine,
        dp_size=dp_size,
        labels=labels,
        kv_events=_events(entry, "kv_events", address, dp_size),
        kv_replay=_events(entry, "kv_replay", address, dp_size),
        metrics=_url(entry, "metrics") or _default_metrics(engine, address, port),
        bootstrap=_bootstrap(entry),
    )


def _text(entry: Mapping[str, Any], field: str, default: str | None) -> str:
    value = entry.get(field, default)
    if value is None:
        raise _FieldError(field, "is missing")
    if not isinstance(value, str) or not value.isprintable() or not value:
        raise _FieldError(field, "must be text")
    return value


def _matching(entry: Mapping[str, Any], field: str, form: re.Pattern[str], default: str | None) -> str:
    value = _text(entry, field, default)
    if form.fullmatch(value) is None:
        raise _FieldError(field, f"has characters or a length it must not have: {value[:64]!r}")
    return value


def _integer(entry: Mapping[str, Any], field: str, low: int, high: int, default: int | None) -> int:
    """A number, or its digits as text, as llm-d writes ports."""
    value = entry.get(field, default)
    if value is None:
        raise _FieldError(field, "is missing")
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= len(str(high)):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise _FieldError(field, f"must be a number from {low} to {high}")
    return value


def _choice(entry: Mapping[str, Any], field: str, choices: Mapping[str, E], default: E) -> E:
    if field not in entry:
        return default
    value = entry[field]
    if not isinstance(value, str) or value not in choices:
        raise _FieldError(field, f"must be one of {', '.join(choices)}")
    return choices[value]


def _address(entry: Mapping[str, Any]) -> str:
    value = _text(entry, "address", None)
    if value.startswith("[") and value.endswith("]"):
        value = value[1:-1]
    try:
        return str(ipaddress.ip_address(value))
    except ValueError:
        pass
    if _HOST.fullmatch(value) is None or value.replace(".", "").isdigit():
        raise _FieldError("address", f"is no IPv4, IPv6 or host name: {value[:64]!r}")
    return value.rstrip(".").lower()


def _labels(value: Any) -> Mapping[str, str]:
    labels = as_mapping(value)
    if labels is None:
        raise _FieldError("labels", "must be a mapping")
    for key, text in labels.items():
        if not isinstance(key, str) or not isinstance(text, str):
            raise _FieldError("labels", f"must map text to text; quote {key!r}")
    return MappingProxyType(dict(labels))


def _engine_by_label(labels: Mapping[str, str]) -> EngineKind:
    named = next((labels[key] for key in _ENGINE_LABELS if key in labels), EngineKind.VLLM.value)
    if named not in _ENGINE_NAMES:
        raise _FieldError("labels", f"name an unknown engine: {named[:64]!r}")
    return _ENGINE_NAMES[named]


def _events(entry: Mapping[str, Any], field: str, address: str, dp_size: int) -> str | None:
    if field not in entry:
        return None
    value = _text(entry, field, None)
    if field == "kv_events" and value.startswith(("http://", "https://")):
        return _url(entry, field)
    try:
        rank_address(value, dp_size - 1, address)
        return rank_address(value, 0, address)
    except ValueError as error:
        raise _FieldError(field, f"is not usable: {error}") from None


def _url(entry: Mapping[str, Any], field: str) -> str | None:
    if field not in entry:
        return None
    value = _text(entry, field, None)
    try:
        parse_url(value)
    except ValueError as error:
        raise _FieldError(field, f"is not usable: {error}") from None
    return value


def _default_metrics(engine: EngineKind, address: str, port: int) -> str | None:
    """``trtllm-serve`` has its Prometheus page elsewhere; its ``/metrics`` is JSON."""
    if engine is not EngineKind.TRTLLM:
        return None
    host = f"[{address}]" if ":" in address else address
    return f"http://{host}:{port}{_TRTLLM_METRICS_PATH}"


def _bootstrap(entry: Mapping[str, Any]) -> str | None:
    if "bootstrap" not in entry:
        return None
    value = _text(entry, "bootstrap", None)
    try:
        parse_url(f"http://{value}/")
    except ValueError:
        raise _FieldError("bootstrap", "must be HOST:PORT") from None
    return value


def _refuse_twins(endpoints: Iterable[Endpoint], what: str, key: Callable[[Endpoint], object]) -> None:
    seen: dict[object, Endpoint] = {}
    for endpoint in endpoints:
        twin = seen.setdefault(key(endpoint), endpoint)
        if twin is not endpoint:
            raise EndpointsFileError(
                f"{twin.name!r} and {endpoint.name!r} have the same {what}: {key(endpoint)}"
            )


def _listed(keys: Iterable[Any]) -> str:
    return ", ".join(sorted(repr(key)[:64] for key in keys if key != "endpoints"))


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
