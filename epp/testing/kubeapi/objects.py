"""Objects of the Kubernetes API as tests write them."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

PODS: Final = "/api/v1/namespaces/{}/pods"
POOLS: Final = "/apis/inference.networking.k8s.io/v1/namespaces/{}/inferencepools"
OLD_POOLS: Final = "/apis/inference.networking.x-k8s.io/v1alpha2/namespaces/{}/inferencepools"
ROLES: Final = "/apis/rbac.authorization.k8s.io/v1/namespaces/{}/roles"
BINDINGS: Final = "/apis/rbac.authorization.k8s.io/v1/namespaces/{}/rolebindings"
NAMESPACES: Final = "/api/v1/namespaces"


def namespace(name: str) -> dict[str, Any]:
    """A namespace."""
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def pod(name: str, labels: Mapping[str, str], annotations: Mapping[str, str] | None = None) -> dict[str, Any]:
    """A pod of one container on a node without a kubelet: it has no status, and ends when told to."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": dict(labels), "annotations": dict(annotations or {})},
        "spec": {"nodeName": "node", "containers": [{"name": "engine", "image": "engine"}]},
    }


def status(addresses: Sequence[str], *, ready: bool = True) -> dict[str, Any]:
    """A patch of a running pod's status."""
    condition = {"type": "Ready", "status": "True" if ready else "False"}
    return {
        "status": {
            "phase": "Running",
            "podIP": addresses[0],
            "podIPs": [{"ip": address} for address in addresses],
            "conditions": [condition],
        }
    }


def pool(name: str, labels: Mapping[str, str], ports: Sequence[int]) -> dict[str, Any]:
    """An InferencePool, v1."""
    return {
        "apiVersion": "inference.networking.k8s.io/v1",
        "kind": "InferencePool",
        "metadata": {"name": name},
        "spec": {
            "selector": {"matchLabels": dict(labels)},
            "targetPorts": [{"number": port} for port in ports],
            "endpointPickerRef": {"name": "epp", "port": {"number": 9002}},
        },
    }


def old_pool(name: str, labels: Mapping[str, str], port: int) -> dict[str, Any]:
    """An InferencePool, v1alpha2."""
    return {
        "apiVersion": "inference.networking.x-k8s.io/v1alpha2",
        "kind": "InferencePool",
        "metadata": {"name": name},
        "spec": {"selector": dict(labels), "targetPortNumber": port, "extensionRef": {"name": "epp"}},
    }


def reader(user: str, name: str = "epp") -> tuple[dict[str, Any], dict[str, Any]]:
    """A Role with what discovery needs, and nothing else, and its binding to a user."""
    rules = [
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["list", "watch"]},
        {
            "apiGroups": ["inference.networking.k8s.io", "inference.networking.x-k8s.io"],
            "resources": ["inferencepools"],
            "verbs": ["list", "watch"],
        },
    ]
    api = "rbac.authorization.k8s.io"
    role = {"apiVersion": f"{api}/v1", "kind": "Role", "metadata": {"name": name}, "rules": rules}
    binding = {
        "apiVersion": f"{api}/v1",
        "kind": "RoleBinding",
        "metadata": {"name": name},
        "roleRef": {"apiGroup": api, "kind": "Role", "name": name},
        "subjects": [{"apiGroup": api, "kind": "User", "name": user}],
    }
    return role, binding
