"""What a cluster's controllers do, as far as it is needed here: accounts, pods, endpoints.

The API server refuses endpoints on loopback, so EndpointSlices go past it into its store.
"""

import uuid
from collections.abc import Mapping
from typing import Any, Final

from tests.interop.istio.api import Api, Object

NODE: Final = "node"
OWNED: Final = "stand-in/deployment"
"""Annotation of the pods made here: whose they are."""


async def reconcile(api: Api) -> None:
    """One round: bring what exists to what is asked for."""
    await _accounts(api)
    pods = await api.list("/api/v1/pods")
    await _deployments(api, pods)
    await _services(api, pods)


async def _accounts(api: Api) -> None:
    """Every namespace has an account called default."""
    known = {
        thing["metadata"]["namespace"]
        for thing in await api.list("/api/v1/serviceaccounts")
        if thing["metadata"]["name"] == "default"
    }
    for namespace in await api.list("/api/v1/namespaces"):
        name = namespace["metadata"]["name"]
        if name not in known and namespace["status"]["phase"] == "Active":
            account = {
                "apiVersion": "v1",
                "kind": "ServiceAccount",
                "metadata": {"name": "default", "namespace": name},
            }
            await api.apply(account)


async def _deployments(api: Api, pods: list[Object]) -> None:
    wanted: dict[tuple[str, str], Object] = {}
    for deployment in await api.list("/apis/apps/v1/deployments"):
        namespace, name = deployment["metadata"]["namespace"], deployment["metadata"]["name"]
        for number in range(deployment["spec"].get("replicas", 1)):
            wanted[namespace, f"{name}-{number}"] = deployment
    for pod in pods:
        key = pod["metadata"]["namespace"], pod["metadata"]["name"]
        if OWNED in pod["metadata"].get("annotations", {}) and wanted.pop(key, None) is None:
            await api.delete(f"/api/v1/namespaces/{key[0]}/pods/{key[1]}")
    for (namespace, name), deployment in wanted.items():
        await api.call("POST", f"/api/v1/namespaces/{namespace}/pods", _pod(name, deployment))


def _pod(name: str, deployment: Object) -> Object:
    template = deployment["spec"]["template"]
    metadata = dict(template.get("metadata", {}))
    metadata["annotations"] = {**metadata.get("annotations", {}), OWNED: deployment["metadata"]["name"]}
    spec = {"serviceAccountName": "default", **template["spec"], "nodeName": NODE}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {**metadata, "name": name}, "spec": spec}


async def _services(api: Api, pods: list[Object]) -> None:
    slices = {
        (each["metadata"]["namespace"], each["metadata"]["name"]): each
        for each in await api.list("/apis/discovery.k8s.io/v1/endpointslices")
    }
    for service in await api.list("/api/v1/services"):
        selector = service["spec"].get("selector")
        if not selector:
            continue
        chosen = [pod for pod in pods if _selected(pod, service["metadata"]["namespace"], selector)]
        key = service["metadata"]["namespace"], f"{service['metadata']['name']}-slice"
        await _write_slice(api, service, chosen, slices.pop(key, None))
        if service["spec"]["type"] == "LoadBalancer" and chosen:
            await _give_address(api, service, chosen[0]["status"]["podIP"])
    for namespace, name in slices:
        await api.store(f"endpointslices/{namespace}/{name}", None)


def _selected(pod: Object, namespace: str, selector: Mapping[str, str]) -> bool:
    labels = pod["metadata"].get("labels", {})
    return (
        pod["metadata"]["namespace"] == namespace
        and "podIP" in pod["status"]
        and all(labels.get(name) == value for name, value in selector.items())
    )


async def _write_slice(api: Api, service: Object, pods: list[Object], old: Object | None) -> None:
    endpoints, ports = (
        [_endpoint(pod) for pod in pods],
        [_port(port, pods) for port in service["spec"]["ports"]],
    )
    if old is not None and old.get("endpoints", []) == endpoints and old.get("ports", []) == ports:
        return
    namespace, name = service["metadata"]["namespace"], service["metadata"]["name"]
    metadata: Object = {
        "name": f"{name}-slice",
        "namespace": namespace,
        "uid": old["metadata"]["uid"] if old else str(uuid.uuid4()),
        "generation": old["metadata"]["generation"] + 1 if old else 1,
        "creationTimestamp": service["metadata"]["creationTimestamp"],
        "labels": {
            **service["metadata"].get("labels", {}),
            "kubernetes.io/service-name": name,
            "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
        },
    }
    thing = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": metadata,
        "addressType": "IPv4",
    }
    await api.store(
        f"endpointslices/{namespace}/{name}-slice", {**thing, "endpoints": endpoints, "ports": ports}
    )


def _endpoint(pod: Object) -> Object:
    ending = "deletionTimestamp" in pod["metadata"]
    ready = any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", ()))
    reference = {name: pod["metadata"][name] for name in ("namespace", "name", "uid")}
    return {
        "addresses": [pod["status"]["podIP"]],
        "conditions": {"ready": ready and not ending, "serving": ready, "terminating": ending},
        "nodeName": NODE,
        "targetRef": {"kind": "Pod", **reference},
    }


def _port(port: Mapping[str, Any], pods: list[Object]) -> Object:
    number = port.get("targetPort", port["port"])
    if isinstance(number, str):
        named = (p for pod in pods for c in pod["spec"]["containers"] for p in c.get("ports", ()))
        number = next((p["containerPort"] for p in named if p.get("name") == number), port["port"])
    made = {"name": port.get("name", ""), "port": number, "protocol": port.get("protocol", "TCP")}
    return {**made, "appProtocol": port["appProtocol"]} if "appProtocol" in port else made


async def _give_address(api: Api, service: Object, address: str) -> None:
    ingress = [{"ip": address}]
    found = [{"ip": each.get("ip")} for each in service["status"].get("loadBalancer", {}).get("ingress", ())]
    if found != ingress:
        path = f"/api/v1/namespaces/{service['metadata']['namespace']}/services"
        await api.patch(
            f"{path}/{service['metadata']['name']}/status", {"status": {"loadBalancer": {"ingress": ingress}}}
        )
