"""What Istio's agent does beside a gateway's Envoy: its bootstrap. Everything else comes from istiod."""

from typing import Any, Final

from tests.interop.istio.api import Object
from tests.interop.istio.pods import Place
from tests.interop.istio.programs import ISTIO_RELEASE

ADMIN_PORT: Final = 15000
_READY_PORT: Final = 15021
XDS_PORT: Final = 15010
_FILTERS: Final = "type.googleapis.com/envoy.extensions.filters"
_H2: Final = {
    "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
        "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
        "explicit_http_config": {"http2_protocol_options": {}},
    }
}


def own_address(place: Place) -> Object:
    """An EnvoyFilter that binds a gateway's listeners to its pod's address: all pods share one network."""
    metadata = place.pod["metadata"]
    patch = {"operation": "MERGE", "value": {"address": {"socket_address": {"address": place.address}}}}
    return {
        "apiVersion": "networking.istio.io/v1alpha3",
        "kind": "EnvoyFilter",
        "metadata": {"name": metadata["name"], "namespace": metadata["namespace"]},
        "spec": {
            "workloadSelector": {"labels": _named(metadata["labels"])},
            "configPatches": [{"applyTo": "LISTENER", "match": {"context": "GATEWAY"}, "patch": patch}],
        },
    }


def bootstrap(place: Place, istiod: str) -> dict[str, Any]:
    """Envoy's configuration file."""
    xds: dict[str, Any] = {"ads": {}, "resource_api_version": "V3"}
    service = {"envoy_grpc": {"cluster_name": "xds-grpc"}}
    return {
        "node": _node(place),
        "admin": {"address": _at(place.address, ADMIN_PORT)},
        "dynamic_resources": {
            "ads_config": {
                "api_type": "GRPC",
                "transport_api_version": "V3",
                "set_node_on_first_message_only": True,
                "grpc_services": [service],
            },
            "cds_config": xds,
            "lds_config": xds,
        },
        "static_resources": {"clusters": [_istiod(istiod)], "listeners": [_readiness(place)]},
    }


def _node(place: Place) -> dict[str, Any]:
    metadata = place.pod["metadata"]
    name, namespace = metadata["name"], metadata["namespace"]
    return {
        "id": f"router~{place.address}~{name}.{namespace}~{namespace}.svc.cluster.local",
        "cluster": f"{metadata['labels']['service.istio.io/canonical-name']}.{namespace}",
        "metadata": {
            "CLUSTER_ID": "Kubernetes",
            "INSTANCE_IPS": place.address,
            "ISTIO_VERSION": f"{ISTIO_RELEASE}.0",
            "LABELS": metadata["labels"],
            "MESH_ID": "cluster.local",
            "NAMESPACE": namespace,
            "SERVICE_ACCOUNT": place.pod["spec"]["serviceAccountName"],
            "WORKLOAD_NAME": metadata["labels"]["service.istio.io/canonical-name"],
        },
    }


def _named(labels: dict[str, str]) -> dict[str, str]:
    name = "gateway.networking.k8s.io/gateway-name"
    return {name: labels[name]}


def _istiod(address: str) -> dict[str, Any]:
    endpoint = {"endpoint": {"address": _at(address, XDS_PORT)}}
    return {
        "name": "xds-grpc",
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": {"cluster_name": "xds-grpc", "endpoints": [{"lb_endpoints": [endpoint]}]},
        "typed_extension_protocol_options": _H2,
    }


def _readiness(place: Place) -> dict[str, Any]:
    """Listens once the first configuration is there, as the agent's page says it."""
    manager = {
        "@type": f"{_FILTERS}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "ready",
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "ready",
                    "domains": ["*"],
                    "routes": [{"match": {"prefix": "/"}, "direct_response": {"status": 200}}],
                }
            ]
        },
        "http_filters": [
            {
                "name": "router",
                "typed_config": {"@type": f"{_FILTERS}.http.router.v3.Router"},
            }
        ],
    }
    filters = [{"name": "http", "typed_config": manager}]
    return {
        "name": "ready",
        "address": _at(place.address, _READY_PORT),
        "filter_chains": [{"filters": filters}],
    }


def _at(address: str, port: int) -> dict[str, Any]:
    return {"socket_address": {"address": address, "port_value": port}}
