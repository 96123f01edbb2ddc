"""The API server's own opinion of every object: a dry run, strict about fields, with real admission."""

import pytest

from epp.testing.kubeapi.server import ApiError, ApiServer
from tests.manifests.built import PICKERS, SETS, Object, objects, one

_UNKNOWN = {"healthcheckpolicies", "gcpbackendpolicies", "snippetspolicies"}
"""Of GKE and of NGINX Gateway Fabric, whose definitions are not published where tests could have them."""
_PLURALS = {"Gateway": "gateways", "GatewayClass": "gatewayclasses"}


def collection(thing: Object, namespace: str = "llm") -> str:
    kind, version = thing["kind"], thing["apiVersion"]
    regular = f"{kind[:-1]}ies" if kind.endswith("y") else f"{kind}s"
    plural = _PLURALS.get(kind, regular.lower())
    root = f"/api/{version}" if version == "v1" else f"/apis/{version}"
    # As kubectl does: kustomize writes a namespace to every kind of which it does not know that it has none.
    return f"{root}/{plural}" if kind == "GatewayClass" else f"{root}/namespaces/{namespace}/{plural}"


def _try(server: ApiServer, thing: Object, namespace: str = "llm") -> None:
    server.admin.create(f"{collection(thing, namespace)}?dryRun=All&fieldValidation=Strict", thing)


@pytest.mark.usefixtures("namespaces")
@pytest.mark.parametrize("name", SETS)
def test_every_object_is_taken(api_server: ApiServer, name: str) -> None:
    tried = 0
    for thing in objects(name):
        assert thing["kind"] == "Namespace" or thing["metadata"]["namespace"] == "llm"
        if thing["kind"] != "Namespace" and collection(thing).rpartition("/")[2] not in _UNKNOWN:
            _try(api_server, thing)
            tried += 1
    assert tried


@pytest.mark.usefixtures("namespaces")
def test_a_misspelt_field_is_refused(api_server: ApiServer) -> None:
    pool = one("overlays/istio", "InferencePool")
    wrong = {**pool, "spec": {**pool["spec"], "targetPort": 8000}}
    with pytest.raises(ApiError, match="targetPort"):
        _try(api_server, wrong)


@pytest.mark.usefixtures("namespaces")
@pytest.mark.parametrize("name", PICKERS)
def test_pods_pass_the_restricted_profile(api_server: ApiServer, name: str) -> None:
    for deployment in (thing for thing in objects(name) if thing["kind"] == "Deployment"):
        _try(api_server, _pod(deployment), "restricted")


@pytest.mark.usefixtures("namespaces")
def test_the_restricted_profile_is_enforced(api_server: ApiServer) -> None:
    pod = _pod(one("base", "Deployment"))
    del pod["spec"]["securityContext"]["seccompProfile"]
    with pytest.raises(ApiError, match="seccompProfile"):
        _try(api_server, pod, "restricted")


def _pod(deployment: Object) -> Object:
    template = deployment["spec"]["template"]
    metadata = {**template["metadata"], "name": "tried", "namespace": "restricted"}
    spec = {**template["spec"], "securityContext": dict(template["spec"]["securityContext"])}
    spec.pop("serviceAccountName", None)
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
