"""Applying objects of any kind: the API server itself tells where each belongs."""

from collections.abc import Iterable
from typing import Any, Final

from epp.testing.kubeapi.server import Admin, ApiError

Object = dict[str, Any]
_CONFLICT: Final = 409
_ORDER: Final = {"CustomResourceDefinition": 0, "Namespace": 1}


class Objects:
    """What is stored, with all rights."""

    def __init__(self, admin: Admin) -> None:
        self.admin = admin
        self._kinds: dict[tuple[str, str], tuple[str, bool]] = {}

    def apply(self, things: Iterable[Object], namespace: str = "default") -> None:
        """Create objects, definitions and namespaces first; what is there is left. Raises ApiError."""
        for thing in sorted(things, key=lambda thing: _ORDER.get(thing["kind"], 2)):
            try:
                self.admin.call("POST", self.collection(thing, namespace), thing)
            except ApiError as error:
                if error.status != _CONFLICT:
                    error.add_note(f"{thing['kind']} {thing['metadata']['name']}")
                    raise

    def get(self, path: str) -> Any:
        """One object or list."""
        return self.admin.call("GET", path)

    def collection(self, thing: Object, namespace: str) -> str:
        """The path of the collection an object belongs to."""
        version = thing["apiVersion"]
        root = f"/api/{version}" if version == "v1" else f"/apis/{version}"
        if (version, thing["kind"]) not in self._kinds:
            self._learn(root, version)
        plural, namespaced = self._kinds[version, thing["kind"]]
        inside = thing["metadata"].get("namespace") or namespace
        return f"{root}/namespaces/{inside}/{plural}" if namespaced else f"{root}/{plural}"

    def _learn(self, root: str, version: str) -> None:
        for resource in self.get(root)["resources"]:
            if "/" not in resource["name"]:  # else a subresource
                self._kinds[version, resource["kind"]] = resource["name"], resource["namespaced"]
