"""The ``kube-apiserver`` program, built from its Go modules once and kept in the user's cache folder.

About five minutes on two busy cores; a second later is a look into the cache. Its ``go.mod`` is made from
Kubernetes' own. Custom resource definitions come from their modules likewise.
"""

import hashlib
import re
from pathlib import Path
from typing import Final

from epp.testing.kubeapi import gobuild
from epp.testing.kubeapi.gobuild import GoError

KUBERNETES: Final = "v1.34.2"
INFERENCE_EXTENSION: Final = "sigs.k8s.io/gateway-api-inference-extension"
INFERENCE_EXTENSION_VERSION: Final = "v1.5.0"
WITH_V1ALPHA2_VERSION: Final = "v1.4.0"
"""The last version that has the older InferencePool."""
_STAGING: Final = KUBERNETES.replace("v1.", "v0.", 1)
"""Kubernetes' own libraries carry the same numbers with a zero in front."""
_MAIN: Final = """package main

import (
	"os"

	"k8s.io/component-base/cli"
	"k8s.io/kubernetes/cmd/kube-apiserver/app"
)

func main() { os.Exit(cli.Run(app.NewAPIServerCommand())) }
"""


class KubeApiError(Exception):
    """The API server cannot be built or started; the text says what to do."""


def apiserver_program() -> Path:
    """The built ``kube-apiserver``; builds it if need be. Raises KubeApiError."""
    recipe = hashlib.sha256(f"{KUBERNETES}\n{_MAIN}\n{_flags()}".encode()).hexdigest()[:12]
    program = gobuild.cache_folder("kubeapi") / f"kube-apiserver-{KUBERNETES}-{recipe}"
    with gobuild.locked(program):
        if not program.exists():
            try:
                _build(program)
            except GoError as error:
                raise KubeApiError(f"the API server cannot be built: {error}") from error
    return program


def custom_resources(version: str = INFERENCE_EXTENSION_VERSION) -> tuple[Path, ...]:
    """The files with the inference extension's custom resource definitions; raises KubeApiError."""
    try:
        module = gobuild.fetch(INFERENCE_EXTENSION, version)
    except GoError as error:
        raise KubeApiError(f"definitions cannot be fetched: {error}") from error
    return tuple(sorted(Path(module.dir, "config", "crd", "bases").glob("*.yaml")))


def _build(program: Path) -> None:
    kubernetes = Path(gobuild.fetch("k8s.io/kubernetes", KUBERNETES).go_mod)
    files = {"main.go": _MAIN, "go.mod": _requirements(kubernetes)}
    gobuild.build(program, files, ["build", "-trimpath", "-ldflags", _flags(), "."])


def _flags() -> str:
    major, minor = KUBERNETES.removeprefix("v").split(".")[:2]
    stamps = {"gitVersion": KUBERNETES, "gitMajor": major, "gitMinor": minor}
    return " ".join(("-s -w", *(f"-X k8s.io/component-base/version.{k}={v}" for k, v in stamps.items())))


def _requirements(kubernetes: Path) -> str:
    """A go.mod that replaces what Kubernetes' own requires as part of itself (at ``v0.0.0``)."""
    text = kubernetes.read_text()
    language = re.search(r"^go (\S+)$", text, re.MULTILINE)
    own = re.findall(r"^\s+(k8s\.io/\S+) v0\.0\.0$", text, re.MULTILINE)
    if language is None or not own:
        raise KubeApiError(f"{kubernetes} is not the go.mod that was expected")
    replaced = "".join(f"\t{module} => {module} {_STAGING}\n" for module in own)
    required = f"\tk8s.io/component-base {_STAGING}\n\tk8s.io/kubernetes {KUBERNETES}\n"
    return f"module kubeapiserver\n\ngo {language[1]}\n\nrequire (\n{required})\n\nreplace (\n{replaced})\n"
