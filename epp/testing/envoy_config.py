"""Envoy configuration for one picker and its model servers, as plain data.

The variants cover what gateways really set up: the body modes of the Endpoint Picker Protocol, both ways to
steer (``ORIGINAL_DST`` by header, ``override_host`` by metadata as Istio does), plaintext or
unverified TLS to the picker, response bodies kept away from it (the cheap way) or sent through it.
The result is JSON, which Envoy reads as it reads YAML; ``validate`` in :mod:`epp.testing.envoy` checks it.
The files that ``gateway-manifests`` gives to a plain Envoy are made here as well: what is shipped is what the
tests run.
"""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from epp.core.headers import DESTINATION, LB_NAMESPACE, SERVED, SUBSET, SUBSET_NAMESPACE

_TYPE: Final = "@type"
_EXT: Final = "type.googleapis.com/envoy.extensions."
_FOREVER_S: Final = "86400s"
_CODECS: Final = {True: "HTTP2", False: "HTTP1", None: "AUTO"}


class BodyModeName(StrEnum):
    """``ProcessingMode.BodySendMode`` by name."""

    NONE = "NONE"
    STREAMED = "STREAMED"
    BUFFERED = "BUFFERED"
    BUFFERED_PARTIAL = "BUFFERED_PARTIAL"
    FULL_DUPLEX_STREAMED = "FULL_DUPLEX_STREAMED"


class Upstream(StrEnum):
    """How the picked endpoint is reached."""

    ORIGINAL_DST = "original-dst"
    """The header names the address; any address is believed."""
    OVERRIDE_HOST = "override-host"
    """``envoy.lb`` metadata names one of the listed endpoints; others are skipped, then round robin."""


@dataclass(frozen=True, slots=True)
class EnvoyOptions:
    """One variant."""

    pickers: Sequence[int]
    """Ports of pickers; none: a plain proxy, nobody is asked."""
    picker_host: str = "127.0.0.1"
    """Where they are: an address, or a name that stands for all of them and is looked up again and again."""
    listen: str = "127.0.0.1:0"
    """``ip:port`` for clients; port 0: the kernel chooses."""
    admin: str = "127.0.0.1:0"
    """``ip:port`` of the admin pages."""
    endpoints: Sequence[str] = ()
    """``ip:port`` of the model servers; needed by :attr:`Upstream.OVERRIDE_HOST`."""
    upstream: Upstream = Upstream.ORIGINAL_DST
    request_body: BodyModeName = BodyModeName.FULL_DUPLEX_STREAMED
    response_body: BodyModeName = BodyModeName.NONE
    mode_override: bool = False
    """The picker may ask for other modes on the way."""
    picker_tls: bool = False
    downstream_h2: bool | None = False
    """Clients speak HTTP/2 in plaintext; False: HTTP/1.1; None: what each begins with."""
    upstream_h2: bool = False
    subset: Sequence[str] | None = None
    """A subset hint the gateway gives with every request."""
    message_timeout_s: float = 30.0
    failure_mode_allow: bool = False
    buffer_limit_bytes: int = 1024 * 1024
    """Of a connection; a BUFFERED body larger than it is refused by Envoy itself."""
    health_interval_s: float | None = None
    """Ask the pickers' health this often; None: never."""
    retries: int = 0


def build_config(options: EnvoyOptions) -> dict[str, Any]:
    """The whole bootstrap."""
    return {
        "admin": {"address": _address(*_split(options.admin))},
        "static_resources": {
            "listeners": [_listener(options)],
            "clusters": [_model_servers(options), *([_pickers(options)] if options.pickers else [])],
        },
    }


def _listener(options: EnvoyOptions) -> dict[str, Any]:
    manager = {
        _TYPE: _EXT + "filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "ingress",
        "codec_type": _CODECS[options.downstream_h2],
        "stream_idle_timeout": _FOREVER_S,
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [_route(options)]}]},
        "http_filters": [*_subset_filter(options), *_ext_proc(options), _router()],
    }
    return {
        "name": "ingress",
        "address": _address(*_split(options.listen)),
        "per_connection_buffer_limit_bytes": options.buffer_limit_bytes,
        "filter_chains": [
            {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
        ],
    }


def _route(options: EnvoyOptions) -> dict[str, Any]:
    action: dict[str, Any] = {"cluster": "model-servers", "timeout": _FOREVER_S, "idle_timeout": _FOREVER_S}
    if options.retries:
        action["retry_policy"] = {"retry_on": "connect-failure", "num_retries": options.retries}
    return {"match": {"prefix": "/"}, "route": action}


def _ext_proc(options: EnvoyOptions) -> list[dict[str, Any]]:
    if not options.pickers:
        return []
    ext_proc = {
        "name": "envoy.filters.http.ext_proc",
        "typed_config": {
            _TYPE: _EXT + "filters.http.ext_proc.v3.ExternalProcessor",
            "grpc_service": {"envoy_grpc": {"cluster_name": "pickers", "authority": "picker"}},
            "failure_mode_allow": options.failure_mode_allow,
            "message_timeout": f"{options.message_timeout_s}s",
            "processing_mode": {
                "request_header_mode": "SEND",
                "response_header_mode": "SEND",
                "request_body_mode": options.request_body.value,
                "response_body_mode": options.response_body.value,
                "request_trailer_mode": "SEND",
                "response_trailer_mode": "SEND",
            },
            **({"allow_mode_override": True} if options.mode_override else {}),
            "metadata_options": {
                "receiving_namespaces": {"untyped": [LB_NAMESPACE]},
                "forwarding_namespaces": {"untyped": [LB_NAMESPACE, SUBSET_NAMESPACE]},
            },
        },
    }
    return [ext_proc]


def _subset_filter(options: EnvoyOptions) -> list[dict[str, Any]]:
    if options.subset is None:
        return []
    metadata = {"metadata_namespace": SUBSET_NAMESPACE, "value": {SUBSET: list(options.subset)}}
    config = {_TYPE: _EXT + "filters.http.set_metadata.v3.Config", "metadata": [metadata]}
    return [{"name": "envoy.filters.http.set_metadata", "typed_config": config}]


def _router() -> dict[str, Any]:
    config = {_TYPE: _EXT + "filters.http.router.v3.Router", "suppress_envoy_headers": True}
    return {"name": "envoy.filters.http.router", "typed_config": config}


def _model_servers(options: EnvoyOptions) -> dict[str, Any]:
    cluster: dict[str, Any] = {
        "name": "model-servers",
        "connect_timeout": "5s",
        "circuit_breakers": _unlimited(),
        "typed_extension_protocol_options": _http(h2=options.upstream_h2),
    }
    if options.upstream is Upstream.ORIGINAL_DST:
        by_header = {"use_http_header": True, "http_header_name": DESTINATION}
        return cluster | {
            "type": "ORIGINAL_DST",
            "lb_policy": "CLUSTER_PROVIDED",
            "original_dst_lb_config": by_header,
        }
    return cluster | {
        "type": "STATIC",
        "load_assignment": _assignment("model-servers", options.endpoints),
        "load_balancing_policy": {"policies": [_override_host()]},
    }


def _override_host() -> dict[str, Any]:
    round_robin = {_TYPE: _EXT + "load_balancing_policies.round_robin.v3.RoundRobin"}
    fallback = {"typed_extension_config": {"name": "round_robin", "typed_config": round_robin}}
    return {
        "typed_extension_config": {
            "name": "envoy.load_balancing_policies.override_host",
            "typed_config": {
                _TYPE: _EXT + "load_balancing_policies.override_host.v3.OverrideHost",
                "override_host_sources": [
                    {"metadata": {"key": LB_NAMESPACE, "path": [{"key": DESTINATION}]}}
                ],
                "selected_host_key": {"key": LB_NAMESPACE, "path": [{"key": SERVED}]},
                "fallback_policy": {"policies": [fallback]},
            },
        }
    }


def _pickers(options: EnvoyOptions) -> dict[str, Any]:
    addresses = [f"{options.picker_host}:{port}" for port in options.pickers]
    cluster: dict[str, Any] = {
        "name": "pickers",
        **_found(options.picker_host),
        "connect_timeout": "10s",
        "circuit_breakers": _unlimited(),
        "load_assignment": _assignment("pickers", addresses),
        "typed_extension_protocol_options": _http(h2=True),
    }
    if options.picker_tls:
        context: dict[str, Any] = {_TYPE: _EXT + "transport_sockets.tls.v3.UpstreamTlsContext"}
        cluster["transport_socket"] = {"name": "envoy.transport_sockets.tls", "typed_config": context}
    if options.health_interval_s is not None:
        cluster["health_checks"] = [_health_check(options.health_interval_s, tls=options.picker_tls)]
        cluster["common_lb_config"] = {"healthy_panic_threshold": {"value": 0}}
    return cluster


def _health_check(interval_s: float, *, tls: bool) -> dict[str, Any]:
    """Of HTTP/2 Envoy's checks say nothing in a handshake unless told to, and gRPC servers insist on it."""
    spoken: dict[str, Any] = {"tls_options": {"alpn_protocols": ["h2"]}} if tls else {}
    return {
        "timeout": "5s",
        "interval": f"{interval_s}s",
        "no_traffic_interval": f"{interval_s}s",
        "unhealthy_threshold": 1,
        "healthy_threshold": 1,
        "grpc_health_check": {"service_name": "envoy.service.ext_proc.v3.ExternalProcessor"},
        **spoken,
    }


def _assignment(name: str, endpoints: Sequence[str]) -> dict[str, Any]:
    members = [{"endpoint": {"address": _address(*_split(endpoint))}} for endpoint in endpoints]
    return {"cluster_name": name, "endpoints": [{"lb_endpoints": members}]}


def _found(host: str) -> dict[str, str]:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return {"type": "STRICT_DNS", "dns_lookup_family": "V4_PREFERRED"}
    return {"type": "STATIC"}


def _split(endpoint: str) -> tuple[str, int]:
    host, _, port = endpoint.rpartition(":")
    return host.strip("[]"), int(port)


def _address(host: str, port: int) -> dict[str, Any]:
    return {"socket_address": {"address": host, "port_value": port}}


def _http(*, h2: bool) -> dict[str, Any]:
    explicit: dict[str, Any] = {"http2_protocol_options": {}} if h2 else {"http_protocol_options": {}}
    options = {
        _TYPE: _EXT + "upstreams.http.v3.HttpProtocolOptions",
        "explicit_http_config": explicit,
    }
    return {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": options}


def _unlimited() -> dict[str, Any]:
    most = 40_000  # what the protocol's own Envoy example raises the default of 1024 to
    limits = {"max_connections": most, "max_pending_requests": most, "max_requests": most}
    return {"thresholds": [limits]}
