"""Every set of manifests that a reader can apply, and its objects."""

from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from tests.manifests.envoy_files import MANIFESTS
from tests.manifests.programs import render

GATEWAYS = (
    "istio",
    "envoy-gateway",
    "envoy-ai-gateway",
    "agentgateway",
    "kgateway",
    "gke",
    "nginx-gateway-fabric",
    "plain-envoy",
)
ENGINES = ("vllm", "sglang", "trtllm")
PICKERS = ("base", "standalone", *(f"overlays/{name}" for name in GATEWAYS))
"""Sets with a picker in them."""
WORKERS = tuple(f"workers/{engine}/{kind}" for engine in ENGINES for kind in ("aggregated", "disaggregated"))
COMPONENTS = ("fail-close", "objectives", "monitoring", "plaintext", "certificate", "selector")
WITH_COMPONENT = tuple(f"components/{name}" for name in COMPONENTS)
"""Each on top of the overlay for Istio."""
SETS = (*PICKERS, *WORKERS, *WITH_COMPONENT, "routes")

Object = dict[str, Any]


@cache
def objects(name: str) -> tuple[Object, ...]:
    """The objects of a set, in kustomize's order."""
    return tuple(
        parse(on_top("overlays/istio", components=[name]) if name in WITH_COMPONENT else _plain(name))
    )


def on_top(resource: str, **more: Any) -> str:
    """Rendered: a kustomization of the user's own above one of ours."""
    build = MANIFESTS.parent / "build"
    build.mkdir(exist_ok=True)
    with TemporaryDirectory(dir=build, prefix="overlay-") as folder:  # kustomize takes relative paths only
        content: Object = {"resources": [f"../../gateway-manifests/{resource}"], **more}
        content["components"] = [f"../../gateway-manifests/{name}" for name in more.get("components", ())]
        Path(folder, "kustomization.yaml").write_text(yaml.safe_dump(content))
        return render(Path(folder))


def parse(text: str) -> Iterator[Object]:
    """The documents of a stream."""
    return (document for document in yaml.load_all(text, yaml.CSafeLoader) if document)


def one(name: str, kind: str, called: str | None = None) -> Object:
    """The one object of a kind in a set."""
    return only((thing for thing in objects(name) if thing["kind"] == kind), called)


def only(found: Iterable[Object], called: str | None = None) -> Object:
    """The one object, or the one of a name."""
    left = [thing for thing in found if called in (None, thing["metadata"]["name"])]
    assert len(left) == 1, left
    return left[0]


def containers(deployment: Object) -> list[Object]:
    """All containers of a deployment, sidecars too."""
    pod = deployment["spec"]["template"]["spec"]
    return [*pod.get("initContainers", ()), *pod["containers"]]


def _plain(name: str) -> str:
    return render(MANIFESTS / name)
