"""Control planes, installed as their guides say."""

from pathlib import Path
from typing import Final

from tests.interop.gateways import charts, programs
from tests.interop.gateways.cluster import Cluster
from tests.interop.gateways.stage import CONTROL, Stage

_AI_CONTROL: Final = "envoy-ai-gateway-system"


async def envoy_gateway(cluster: Cluster, folder: Path) -> Stage:
    """Envoy Gateway, by its chart."""
    stage = Stage(cluster)
    await stage.install({CONTROL: charts.envoy_gateway(folder)})
    return stage


async def envoy_ai_gateway(cluster: Cluster, folder: Path) -> Stage:
    """Envoy Gateway with the values of the AI Gateway's guide to pools, and the AI Gateway's charts."""
    source = programs.source("ai-gateway")
    assert source is not None
    values = (
        source / "manifests" / "envoy-gateway-values.yaml",
        source / "examples" / "inference-pool" / "envoy-gateway-values-addon.yaml",
    )
    theirs = source / "manifests" / "charts"
    definitions = charts.render(theirs / "ai-gateway-crds-helm", "aieg-crd", _AI_CONTROL)
    controller = charts.render(theirs / "ai-gateway-helm", "aieg", _AI_CONTROL)
    stage = Stage(cluster)
    gateway = charts.envoy_gateway(folder, *values)
    await stage.install({CONTROL: gateway, _AI_CONTROL: [*definitions, *controller]})
    return stage
