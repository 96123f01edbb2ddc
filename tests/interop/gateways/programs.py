"""Gateways' control planes, and helm for their charts: built from their own sources once, and kept.

Envoy Gateway and helm come through the Go module proxy; others are built from checkouts that the environment
names.
"""

import os
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

from epp.testing.kubeapi import gobuild
from epp.testing.kubeapi.build import apiserver_program

ENVOY_GATEWAY: Final = "v1.9.1"
HELM: Final = "v3.22.0"


class Source(NamedTuple):
    """A program that is built from a checkout of its release: not every module proxy keeps it, and its charts
    are no part of it."""

    variable: str
    """Of the environment; names the folder."""
    version: str
    package: str


SOURCES: Final = {
    "ai-gateway": Source("EPP_AIGW_SOURCE", "v1.1.0", "./cmd/controller"),
    "nginx-gateway-fabric": Source("EPP_NGF_SOURCE", "v2.6.7", "./cmd/gateway"),
}
_BUILD_S: Final = 1500.0
_FLAGS: Final = ("build", "-trimpath", "-ldflags", "-s -w")


@cache
def envoy_gateway() -> Path:
    """The program; raises GoError."""
    return _built("envoy-gateway", "github.com/envoyproxy/gateway", "cmd/envoy-gateway", ENVOY_GATEWAY)


@cache
def envoy_gateway_chart() -> Path:
    """The folder of its chart, as its module has it: ``values.yaml`` is made of a template at release."""
    return Path(gobuild.fetch("github.com/envoyproxy/gateway", ENVOY_GATEWAY).dir, "charts", "gateway-helm")


@cache
def helm() -> Path:
    """The program; raises GoError."""
    return _built("helm", "helm.sh/helm/v3", "cmd/helm", HELM)


def source(of: str) -> Path | None:
    """The checkout of a gateway that is built from one, if there is one; ``of``: a key of :data:`SOURCES`."""
    said = os.environ.get(SOURCES[of].variable)
    return Path(said).resolve() if said else None


@cache
def from_source(of: str) -> Path:
    """The program; raises GoError."""
    recipe, checkout = SOURCES[of], source(of)
    assert checkout is not None, f"{recipe.variable} names no checkout of {recipe.version}"
    program = gobuild.cache_folder("gateways") / f"{of}-{recipe.version}"
    with gobuild.locked(program):
        if not program.exists():
            unfinished = program.with_name(f"{program.name}.new")
            gobuild.run_go([*_FLAGS, "-o", str(unfinished), recipe.package], checkout, _BUILD_S)
            unfinished.rename(program)
    return program


def build_all() -> None:
    """Everything the tests need that wants a network; raises GoError, KubeApiError."""
    for build in (apiserver_program, envoy_gateway, helm, envoy_gateway_chart):
        build()
    for of in SOURCES:
        if source(of):
            from_source(of)


def _built(name: str, module: str, package: str, version: str) -> Path:
    program = gobuild.cache_folder("gateways") / f"{name}-{version}"
    with gobuild.locked(program):
        if not program.exists():
            files = {
                "go.mod": f"module built\n\ngo 1.26\n\nrequire {module} {version}\n",
                "tools.go": f'//go:build tools\n\npackage tools\n\nimport _ "{module}/{package}"\n',
            }
            gobuild.build(program, files, [*_FLAGS, f"{module}/{package}"])
    return program
