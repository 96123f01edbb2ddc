"""istiod, the inference extension's conformance suite, and definitions: out of Go modules at pinned versions.

``python -m tests.interop.istio.programs`` builds what is missing; nothing is copied into this repository.
"""

import hashlib
import shutil
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from epp.testing.kubeapi import gobuild
from epp.testing.kubeapi.build import INFERENCE_EXTENSION, INFERENCE_EXTENSION_VERSION, apiserver_program

ISTIO = ("istio.io/istio", "v0.0.0-20260827124520-eed52ebb66ad")
"""1.31 as it was on 27 August 2026; tags of this repository are no versions to Go."""
ISTIO_RELEASE = "1.31"
ISTIO_API = ("istio.io/api", "v1.31.1")
GATEWAY_API = ("sigs.k8s.io/gateway-api", "v1.5.1")
"""What the suite is written against."""
SUITE = (f"{INFERENCE_EXTENSION}/conformance", INFERENCE_EXTENSION_VERSION)
_SUITE_SUMS = (
    "MnVR8OCQZBNqBSZ+b1CciiCoX+9J+TeDetyIwQB476k=",
    "/8QGtv1lT1rYJR2oo2P2fopZluL4uP/whN/9sqVTGLU=",
)
"""Of the module and of its go.mod, for not every checksum database knows this module."""
_SMALL = ("-trimpath", "-ldflags", "-s -w")
_ISTIOD_MAIN = """package main

import (
	"os"

	"istio.io/istio/pilot/cmd/pilot-discovery/app"
)

func main() {
	if app.NewRootCommand().Execute() != nil {
		os.Exit(1)
	}
}
"""
_SUITE_MAIN = f'package main\n\nimport _ "{SUITE[0]}"\n\nfunc main() {{}}\n'
# The module asks for versions between releases; those that proxies keep are the next releases.
_ISTIOD_REQUIRED = (
    ISTIO,
    ISTIO_API,
    ("istio.io/client-go", "v1.31.1"),
    ("github.com/envoyproxy/go-control-plane/envoy", "v1.40.0"),
    ("github.com/envoyproxy/go-control-plane/contrib", "v1.36.1-0.20260729145720-a2d8c7492908"),
)


def istiod() -> Path:
    """Istio's control plane, without its agents; raises GoError."""
    files = {"main.go": _ISTIOD_MAIN, "go.mod": _module("istiod", _ISTIOD_REQUIRED)}
    return _built("istiod", files, ["build", *_SMALL, "-tags=vtprotobuf,disable_pgv", "."])


def suite() -> Path:
    """The conformance suite as its test program; raises GoError."""
    module, version = SUITE
    whole, mod = _SUITE_SUMS
    files = {
        "main.go": _SUITE_MAIN,
        "go.mod": _module("suite", (SUITE,)),
        "go.sum": f"{module} {version} h1:{whole}\n{module} {version}/go.mod h1:{mod}\n",
    }
    return _built("suite", files, ["test", "-c", *_SMALL, module])


def charts() -> Path:
    """Istio's chart of istiod; raises GoError."""
    return Path(gobuild.fetch(*ISTIO).dir, "manifests", "charts", "istio-control", "istio-discovery")


def definitions() -> Iterator[dict[str, Any]]:
    """The custom resource definitions of Gateway API (standard channel), the inference extension and Istio;
    raises GoError."""
    standard = Path(gobuild.fetch(*GATEWAY_API).dir, "config", "crd", "standard")
    inference = Path(gobuild.fetch(INFERENCE_EXTENSION, INFERENCE_EXTENSION_VERSION).dir, "config/crd/bases")
    istio = Path(gobuild.fetch(*ISTIO_API).dir, "kubernetes")
    files = (
        *standard.glob("*.yaml"),
        *inference.glob("*.yaml"),
        istio / "customresourcedefinitions.gen.yaml",
    )
    for file in sorted(files):
        for document in yaml.load_all(file.read_text(), yaml.CSafeLoader):
            if document and document["kind"] == "CustomResourceDefinition":
                yield document


def prepare() -> None:
    """Build and fetch all of it; raises GoError, KubeApiError."""
    if shutil.which("etcd") is None:
        raise gobuild.GoError("there is no etcd (etcd-server)")
    apiserver_program()
    istiod()
    suite()
    for _ in definitions():
        pass


def _module(name: str, required: Sequence[tuple[str, str]]) -> str:
    lines = "".join(f"\t{module} {version}\n" for module, version in required)
    return f"module {name}\n\ngo 1.26.0\n\nrequire (\n{lines})\n"


def _built(name: str, files: Mapping[str, str], command: Sequence[str]) -> Path:
    recipe = hashlib.sha256(repr((sorted(files.items()), command)).encode()).hexdigest()[:12]
    program = gobuild.cache_folder("istio") / f"{name}-{recipe}"
    with gobuild.locked(program):
        if not program.exists():
            gobuild.build(program, files, command)
    return program


if __name__ == "__main__":
    began_s = time.monotonic()
    try:
        prepare()
    except gobuild.GoError as error:
        sys.exit(str(error))
    print(f"{time.monotonic() - began_s:.0f} s")  # noqa: T201 -- for whoever ran it
