"""What the tests here need, built before they run: ``python -m tests.integration.kubernetes.prepare``."""

import shutil
import sys

from epp.testing.kubeapi.build import (
    INFERENCE_EXTENSION_VERSION,
    WITH_V1ALPHA2_VERSION,
    KubeApiError,
    apiserver_program,
    custom_resources,
    find_go,
)
from tests.integration.go.conftest import install
from tests.manifests.programs import kustomize


def prepare() -> None:
    """Have the API server, kustomize and the custom resource definitions at hand; raises KubeApiError."""
    if shutil.which("etcd") is None:
        raise KubeApiError("there is no etcd (etcd-server)")
    if find_go() is None and (why := install()):
        raise KubeApiError(f"no Go toolchain, and none could be installed: {why}")
    for version in (INFERENCE_EXTENSION_VERSION, WITH_V1ALPHA2_VERSION):
        custom_resources(version)
    kustomize()
    apiserver_program()


if __name__ == "__main__":
    try:
        prepare()
    except KubeApiError as error:
        sys.exit(str(error))
