"""Every set renders as recorded, and follows when a user's own kustomization renames it."""

from pathlib import Path

import pytest
import yaml

from tests.manifests.built import COMPONENTS, GATEWAYS, SETS, on_top, only, parse
from tests.manifests.envoy_files import FILES, MANIFESTS, written
from tests.manifests.goldens import GOLDEN, path_of, recorded


@pytest.mark.parametrize("name", SETS)
def test_renders_as_recorded(name: str) -> None:
    assert path_of(name).read_text() == recorded(name), "python -m tests.manifests.renew"


def test_nothing_recorded_is_left_over() -> None:
    assert set(GOLDEN.iterdir()) == {path_of(name) for name in SETS}


def test_every_folder_is_tested() -> None:
    assert {folder.name for folder in (MANIFESTS / "overlays").iterdir()} == set(GATEWAYS)
    assert {folder.name for folder in (MANIFESTS / "components").iterdir()} == set(COMPONENTS)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.parent.name)
def test_envoy_files_are_the_builders(file: Path) -> None:
    assert file.read_text() == written(FILES[file]), "python -m tests.manifests.renew"


@pytest.mark.parametrize("gateway", ["istio", "envoy-gateway", "gke"])
def test_a_second_model_in_a_namespace_of_its_own(gateway: str) -> None:
    text = on_top(f"overlays/{gateway}", namespace="other")
    for thing in parse(text):
        assert thing["metadata"].get("namespace", "other") == "other" or thing["kind"] == "Namespace"
    binding = only(thing for thing in parse(text) if thing["kind"] == "RoleBinding")
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "epp", "namespace": "other"}]
    assert "llm.svc" not in text


def test_a_second_model_in_one_namespace_by_prefix() -> None:
    labels = [{"pairs": {"app.kubernetes.io/instance": "qwen"}, "includeSelectors": True}]
    made = list(parse(on_top("overlays/istio", namePrefix="qwen-", labels=labels)))
    kinds = {thing["kind"]: thing for thing in made}
    container = kinds["Deployment"]["spec"]["template"]["spec"]["containers"][0]
    pool, route = kinds["InferencePool"], kinds["HTTPRoute"]
    assert pool["metadata"]["name"] == "qwen-llm"
    assert container["env"][0] == {"name": "DYN_EPP_INFERENCE_POOL_NAME", "value": "qwen-llm"}
    assert pool["spec"]["endpointPickerRef"]["name"] == kinds["Service"]["metadata"]["name"] == "qwen-epp"
    assert kinds["DestinationRule"]["spec"]["host"] == "qwen-epp"
    assert route["spec"]["rules"][0]["backendRefs"][0]["name"] == "qwen-llm"
    assert route["spec"]["parentRefs"][0]["name"] == kinds["Gateway"]["metadata"]["name"]
    assert kinds["RoleBinding"]["subjects"][0]["name"] == kinds["ServiceAccount"]["metadata"]["name"]
    for kind in ("Service", "PodDisruptionBudget", "NetworkPolicy"):
        assert "qwen" in str(kinds[kind]["spec"]), kind


def test_the_kustomization_of_the_documentation() -> None:
    page = (MANIFESTS.parent / "docs" / "kubernetes-install.md").read_text()
    written = yaml.safe_load(page.partition("```yaml\n")[2].partition("```")[0])
    ours = "../llm-endpoint-picker/gateway-manifests/"
    (resource,) = [path.removeprefix(ours) for path in written.pop("resources")]
    components = [path.removeprefix(ours) for path in written.pop("components")]
    (generator,) = written.pop("configMapGenerator")
    assert generator.pop("files") == ["settings.yaml"]
    generator["literals"] = ["settings.yaml=telemetry: {log_level: debug}"]
    made = list(parse(on_top(resource, components=components, configMapGenerator=[generator], **written)))
    deployment = only(thing for thing in made if thing["kind"] == "Deployment")
    assert deployment["spec"]["replicas"] == 3
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "registry.internal/llm-endpoint-picker:0.1.0"
    mounted = deployment["spec"]["template"]["spec"]["volumes"][0]["configMap"]["name"]
    settings = only((thing for thing in made if thing["kind"] == "ConfigMap"), mounted)
    assert "debug" in settings["data"]["settings.yaml"]
    assert {thing["metadata"].get("namespace", "qwen") for thing in made} == {"qwen"}
