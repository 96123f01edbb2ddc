"""What a user of helm would install, as objects; hooks (certificates) too, which the caller runs first."""

import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tests.interop.gateways import programs
from tests.manifests.built import parse

_RUN_S = 180.0


def envoy_gateway(folder: Path, *values: Path) -> list[dict[str, Any]]:
    """Envoy Gateway's chart with definitions; ``values``: files of the user's, later ones win."""
    chart = folder / "gateway-helm"
    shutil.copytree(programs.envoy_gateway_chart(), chart)
    subprocess.run(("chmod", "-R", "u+w", chart), check=True, timeout=_RUN_S)  # modules are kept read-only
    text = (chart / "values.tmpl.yaml").read_text()
    image = f"docker.io/envoyproxy/gateway:{programs.ENVOY_GATEWAY}"
    filled = text.replace("${GatewayImagePullPolicy}", "IfNotPresent").replace("${GatewayImage}", image)
    (chart / "values.yaml").write_text(filled)
    return render(chart, "eg", "envoy-gateway-system", *values)


def definitions(things: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Custom resource definitions alone; Envoy Gateway's chart has those of Gateway API too."""
    return [thing for thing in things if thing["kind"] == "CustomResourceDefinition"]


def render(chart: Path, release: str, namespace: str, *values: Path) -> list[dict[str, Any]]:
    """``helm template`` with definitions."""
    files = [word for file in values for word in ("--values", str(file))]
    argv = (
        str(programs.helm()),
        "template",
        release,
        str(chart),
        "--namespace",
        namespace,
        "--include-crds",
        *files,
    )
    done = subprocess.run(argv, capture_output=True, text=True, timeout=_RUN_S, check=False)
    assert done.returncode == 0, done.stderr
    return list(parse(done.stdout))
