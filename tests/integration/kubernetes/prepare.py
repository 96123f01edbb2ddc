"""What the tests here need, built before they run: ``python -m tests.integration.kubernetes.prepare``."""

import shutil
import sys
from pathlib import Path
from typing import Final

from epp.testing.kubeapi.build import (
    INFERENCE_EXTENSION_VERSION,
    WITH_V1ALPHA2_VERSION,
    KubeApiError,
    apiserver_program,
    custom_resources,
)
from epp.testing.kubeapi.gobuild import GoError, find_go, run_go
from tests.integration.go.conftest import install
from tests.manifests.programs import fetch_definitions, kustomize

_EXAMPLES: Final = Path(__file__).parents[3] / "docs" / "examples"
_FETCH_S: Final = 600.0


def prepare() -> None:
    """Have at hand the API server, kustomize, custom resource definitions, and the modules of the examples in
    Go; raises KubeApiError."""
    if shutil.which("etcd") is None:
        raise KubeApiError("there is no etcd (etcd-server)")
    if find_go() is None and (why := install()):
        raise KubeApiError(f"no Go toolchain, and none could be installed: {why}")
    for version in (INFERENCE_EXTENSION_VERSION, WITH_V1ALPHA2_VERSION):
        custom_resources(version)
    kustomize()
    fetch_definitions()
    try:
        for module in _EXAMPLES.glob("*/go.mod"):
            run_go(["mod", "download"], module.parent, _FETCH_S)
    except GoError as error:
        raise KubeApiError(f"the examples' modules cannot be fetched: {error}") from error
    apiserver_program()


if __name__ == "__main__":
    try:
        prepare()
    except KubeApiError as error:
        sys.exit(str(error))
