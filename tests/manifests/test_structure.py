"""What must hold of the objects, whatever the gateway."""

import re
from pathlib import Path

import pytest

from epp.config.load import load_config
from frontend.config.load import load_frontend
from tests.manifests.built import (
    GATEWAYS,
    PICKERS,
    SETS,
    WORKERS,
    Object,
    containers,
    objects,
    on_top,
    one,
    only,
    parse,
)
from tests.manifests.envoy_files import MANIFESTS

_POOLED = tuple(f"overlays/{name}" for name in GATEWAYS if name not in ("envoy-gateway", "plain-envoy"))


def _kinds(name: str, kind: str) -> list[Object]:
    return [thing for thing in objects(name) if thing["kind"] == kind]


def _labels(deployment: Object) -> dict[str, str]:
    labels: dict[str, str] = deployment["spec"]["template"]["metadata"]["labels"]
    return labels


def _picker(name: str) -> Object:
    return next(c for c in containers(one(name, "Deployment", "epp")) if c["name"] == "epp")


@pytest.mark.parametrize("name", SETS)
def test_no_secrets_and_no_latest(name: str) -> None:
    assert not _kinds(name, "Secret")
    for deployment in _kinds(name, "Deployment"):
        for container in containers(deployment):
            image, _, tag = container["image"].partition(":")
            assert tag not in ("", "latest"), container["image"]
            assert "." not in image.partition("/")[0], f"{image} names a registry"


@pytest.mark.parametrize("name", PICKERS)
def test_more_than_one_picker_and_none_taken_by_an_update(name: str) -> None:
    spec = one(name, "Deployment", "epp")["spec"]
    assert spec["replicas"] == 2
    assert spec["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    assert one(name, "PodDisruptionBudget", "epp")["spec"]["maxUnavailable"] == 1


def test_whatever_selects_pods_selects_some() -> None:
    for name in SETS:
        pods = [_labels(deployment) for deployment in _kinds(name, "Deployment")]
        for thing in objects(name):
            selector = _selector(thing)
            if selector is not None and selector != {"inference-pool": "llm"}:
                assert any(selector.items() <= labels.items() for labels in pods), (name, thing["kind"])


def _selector(thing: Object) -> dict[str, str] | None:
    spec = thing.get("spec", {})
    if thing["kind"] == "Service":
        return spec.get("selector")
    found = spec.get("selector") if thing["kind"] != "NetworkPolicy" else spec["podSelector"]
    if thing["kind"] in ("Deployment", "PodDisruptionBudget", "NetworkPolicy"):
        return found["matchLabels"]
    return None


@pytest.mark.parametrize("name", WORKERS)
def test_workers_are_in_the_pool(name: str) -> None:
    selector = one("overlays/istio", "InferencePool")["spec"]["selector"]["matchLabels"]
    for deployment in _kinds(name, "Deployment"):
        assert selector.items() <= _labels(deployment).items()


@pytest.mark.parametrize("name", PICKERS)
def test_ports_and_probes(name: str) -> None:
    container = _picker(name)
    assert {port["name"]: port["containerPort"] for port in container["ports"]} == {
        "grpc": 9002,
        "grpc-health": 9003,
        "metrics": 9090,
    }
    probes = {kind: container[f"{kind}Probe"]["grpc"] for kind in ("startup", "liveness", "readiness")}
    assert probes == {
        "startup": {"port": 9003, "service": "liveness"},
        "liveness": {"port": 9003, "service": "liveness"},
        "readiness": {"port": 9003, "service": "readiness"},
    }


@pytest.mark.parametrize("name", [name for name in PICKERS if name != "standalone"])
def test_the_service_says_http2(name: str) -> None:
    (port,) = one(name, "Service", "epp")["spec"]["ports"]
    assert (port["name"], port["appProtocol"], port["port"]) == ("grpc", "http2", 9002)
    assert one(name, "Deployment", "epp")["spec"]["template"]["spec"]["serviceAccountName"] == "epp"


@pytest.mark.parametrize("name", _POOLED)
def test_route_to_pool_to_picker(name: str) -> None:
    pool, route = one(name, "InferencePool"), one(name, "HTTPRoute")
    reference = pool["spec"]["endpointPickerRef"]
    assert reference["failureMode"] == "FailOpen"
    assert reference["name"] == one(name, "Service", "epp")["metadata"]["name"]
    assert reference["port"] == {"number": 9002}
    (backend,) = route["spec"]["rules"][0]["backendRefs"]
    assert (backend["kind"], backend["name"]) == ("InferencePool", pool["metadata"]["name"])
    assert route["spec"]["parentRefs"][0]["name"] == one(name, "Gateway")["metadata"]["name"]
    assert _environment(_picker(name))["DYN_EPP_INFERENCE_POOL_NAME"] == pool["metadata"]["name"]


def test_closing_instead_of_guessing() -> None:
    assert (
        one("components/fail-close", "InferencePool")["spec"]["endpointPickerRef"]["failureMode"]
        == "FailClose"
    )


@pytest.mark.parametrize("name", PICKERS)
def test_rights_are_to_read_what_discovery_reads(name: str) -> None:
    granted = {
        (group, resource, verb)
        for role in _kinds(name, "Role")
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    pools = {"inference.networking.k8s.io", "inference.networking.x-k8s.io"}
    by_labels = "EPP_ENDPOINT_SELECTOR" in _environment(_picker(name))
    read = {("", "pods"), *(() if by_labels else ((group, "inferencepools") for group in pools))}
    assert granted == {(*what, verb) for what in read for verb in ("list", "watch")}
    assert not _kinds(name, "ClusterRole")
    assert not _kinds(name, "ClusterRoleBinding")


def _environment(container: Object) -> dict[str, str]:
    """The variables a container starts with; of those the kubelet fills in, something."""
    return {entry["name"]: entry.get("value", "10.0.0.1") for entry in container.get("env", ())}


@pytest.mark.parametrize("name", PICKERS)
def test_the_picker_understands_its_arguments(name: str) -> None:
    command, *flags = _picker(name)["args"]
    settings = (MANIFESTS / "base" / "settings.yaml").read_text()
    loaded = load_config(flags, _environment(_picker(name)), {"/etc/epp/settings.yaml": settings}.__getitem__)
    assert command == "serve"
    assert not loaded.warnings
    assert loaded.config.tokenize.models[0].name == "Qwen/Qwen3-0.6B"
    assert (loaded.config.pool.name is None) == (loaded.config.pool.selector is not None)


@pytest.mark.parametrize("name", [name for name in WORKERS if name.endswith("disaggregated")])
def test_the_frontend_understands_its_arguments(name: str) -> None:
    decode = next(d for d in _kinds(name, "Deployment") if _labels(d)["epp/role"] == "decode")
    sidecar = decode["spec"]["template"]["spec"]["initContainers"][0]
    config = load_frontend(sidecar["args"], _environment(sidecar), _no_file).config
    assert sidecar["command"] == ["frontend"]
    assert sidecar["restartPolicy"] == "Always"
    assert config.discovery_backend == "kubernetes"
    # Another port of the same pods: what the picker calls a worker, the frontend must call so too.
    pool = one("overlays/istio", "InferencePool")["spec"]
    assert f"{config.http.port}" == f"{pool['targetPorts'][0]['number']}"
    assert config.picker.pool.target_ports == (8001,)
    assert config.picker.pool.selector == "inference-pool=llm"
    engine = decode["spec"]["template"]["spec"]["containers"][0]
    assert engine["ports"][0]["containerPort"] == 8001
    assert any("8001" in argument for argument in engine["args"])


def _no_file(path: str) -> str:
    raise FileNotFoundError(path)


def test_drains_fit_into_the_time_given() -> None:
    for name in PICKERS:
        pod = one(name, "Deployment", "epp")["spec"]["template"]["spec"]
        slept = _picker(name).get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
        drain_s = 0 if slept else 30
        assert pod["terminationGracePeriodSeconds"] > slept + drain_s, name


@pytest.mark.parametrize("folder", sorted(MANIFESTS.glob("overlays/*")), ids=lambda f: f.name)
def test_every_overlay_says_what_was_and_was_not_tried(folder: Path) -> None:
    head = (folder / "kustomization.yaml").read_text()
    for word in ("Needs", "Tried", "Not tried", "Know"):
        assert re.search(rf"^# {word}: ", head, re.MULTILINE), word
    assert f"`{folder.name}`" in (MANIFESTS / "README.md").read_text()


@pytest.mark.parametrize("component", ["certificate", "plaintext"])
def test_components_find_the_picker_beside_an_envoy(component: str) -> None:
    made = parse(on_top("standalone", components=[f"components/{component}"]))
    picker, envoy = containers(only(thing for thing in made if thing["kind"] == "Deployment"))
    assert (picker["name"], envoy["name"]) == ("epp", "envoy")
    assert picker["args"][-1].startswith(("--cert-path", "--secure-serving"))
    assert envoy == containers(one("standalone", "Deployment"))[1]
