"""Services: their addresses, names, endpoint slices and load balancers, after the pods behind them."""

from collections.abc import Iterator, Sequence

from epp.testing.kubeapi.server import ApiError
from tests.interop.gateways import network
from tests.interop.gateways.objects import Object, Objects
from tests.interop.gateways.pods import Pod

_NOT_FOUND = 404


class Services:
    """Writes what follows from the Services and the ready pods, when it changed."""

    def __init__(self, objects: Objects) -> None:
        self.names: dict[str, tuple[str, ...]] = {}
        """What the cluster's DNS knows."""
        self._objects = objects
        self._published: object = None

    def publish(self, pods: Sequence[Pod]) -> None:
        """Look, and write. Raises ApiError."""
        every = self._objects.get("/api/v1/services")["items"]
        found = [service for service in every if service["spec"].get("selector")]
        behind = [(service, _behind(service, pods)) for service in found]
        state = [(_name(service), [pod.name for pod in ready]) for service, ready in behind]
        if state == self._published:
            return
        self._published = state
        for service, ready in behind:
            self.names[f"{_name(service)}.svc.cluster.local"] = _addresses(service, ready)
        network.publish([rule for service, ready in behind for rule in _rules(service, ready)])
        for service, ready in behind:
            self._slice(service, ready)
            self._balance(service)

    def _slice(self, service: Object, behind: Sequence[Pod]) -> None:
        about = service["metadata"]
        path = f"/apis/discovery.k8s.io/v1/namespaces/{about['namespace']}/endpointslices"
        made = {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {"name": about["name"], "labels": {"kubernetes.io/service-name": about["name"]}},
            "addressType": "IPv4",
            "endpoints": [_endpoint(pod) for pod in behind],
            "ports": [
                {"name": port.get("name", ""), "port": _target(pod, port), "protocol": "TCP"}
                for pod in behind[:1]
                for port in service["spec"]["ports"]
            ],
        }
        try:
            self._objects.admin.call("PUT", f"{path}/{about['name']}", made)
        except ApiError as error:
            if error.status != _NOT_FOUND:
                raise
            self._objects.admin.create(path, made)

    def _balance(self, service: Object) -> None:
        """Its own address is a load balancer's too."""
        about, spec = service["metadata"], service["spec"]
        if spec["type"] == "LoadBalancer" and not service["status"]["loadBalancer"].get("ingress"):
            path = f"/api/v1/namespaces/{about['namespace']}/services/{about['name']}/status"
            ingress = {"loadBalancer": {"ingress": [{"ip": spec["clusterIP"]}]}}
            self._objects.admin.patch(path, {"status": ingress})


def _behind(service: Object, pods: Sequence[Pod]) -> list[Pod]:
    wanted = service["spec"]["selector"].items()
    inside = (pod for pod in pods if pod.ready and pod.namespace == service["metadata"]["namespace"])
    return [pod for pod in inside if wanted <= pod.made["metadata"].get("labels", {}).items()]


def _headless(service: Object) -> bool:
    return bool(service["spec"]["clusterIP"] == "None")


def _addresses(service: Object, behind: Sequence[Pod]) -> tuple[str, ...]:
    if _headless(service):
        return tuple(pod.network.address for pod in behind)
    return (str(service["spec"]["clusterIP"]),)


def _rules(service: Object, behind: Sequence[Pod]) -> Iterator[network.Rule]:
    for port in () if _headless(service) else service["spec"]["ports"]:
        targets = [(pod.network.address, _target(pod, port)) for pod in behind]
        yield network.Rule(service["spec"]["clusterIP"], port["port"], targets)


def _target(pod: Pod, port: Object) -> int:
    """The number behind a Service's port."""
    said = port.get("targetPort", port["port"])
    ports = (at for container in pod.containers for at in container.get("ports", ()))
    named = {at.get("name"): at["containerPort"] for at in ports}
    return int(named.get(said, said))


def _endpoint(pod: Pod) -> Object:
    return {
        "addresses": [pod.network.address],
        "conditions": {"ready": True, "serving": True, "terminating": False},
        "targetRef": {"kind": "Pod", "name": pod.name, "namespace": pod.namespace},
    }


def _name(service: Object) -> str:
    return f"{service['metadata']['name']}.{service['metadata']['namespace']}"
