"""The API server as the stand-ins for a cluster's controllers use it: from coroutines, one call at a time."""

import asyncio
import base64
import http.client
import json
import urllib.parse
from collections.abc import Mapping
from typing import Any

from epp.testing.kubeapi.server import ApiError, ApiServer

Object = dict[str, Any]
_PLURALS = {"NetworkPolicy": "networkpolicies"}
_WITHOUT_NAMESPACE = ("Namespace", "Node", "GatewayClass", "CustomResourceDefinition")
_STORE_S = 10.0


class Api:
    """Calls with all rights."""

    def __init__(self, server: ApiServer) -> None:
        self.server = server
        self._one_at_a_time = asyncio.Lock()

    async def call(self, method: str, path: str, body: object = None, kind: str = "application/json") -> Any:
        """The decoded answer; raises ApiError, OSError."""
        async with self._one_at_a_time:
            return await asyncio.to_thread(self.server.admin.call, method, path, body, kind)

    async def list(self, path: str) -> list[Object]:
        """The objects of a collection."""
        items: list[Object] = (await self.call("GET", path))["items"]
        return items

    async def get(self, path: str) -> Object | None:
        """An object, if it exists."""
        try:
            found: Object = await self.call("GET", path)
        except ApiError as error:
            if error.status == http.HTTPStatus.NOT_FOUND:
                return None
            raise
        return found

    async def apply(self, thing: Mapping[str, Any]) -> None:
        """As ``kubectl apply --server-side`` does."""
        path = f"{collection(thing)}/{thing['metadata']['name']}?fieldManager=test&force=true"
        await self.call("PATCH", path, thing, "application/apply-patch+yaml")

    async def patch(self, path: str, change: Mapping[str, Any]) -> None:
        """A merge patch."""
        await self.call("PATCH", path, change, "application/merge-patch+json")

    async def delete(self, path: str) -> None:
        """At once; nothing happens if it is gone."""
        try:
            await self.call("DELETE", path, {"gracePeriodSeconds": 0})
        except ApiError as error:
            if error.status != http.HTTPStatus.NOT_FOUND:
                raise

    async def store(self, key: str, thing: Mapping[str, Any] | None) -> None:
        """Write into the store itself (None: remove), past the API server and what it would refuse."""
        async with self._one_at_a_time:
            await asyncio.to_thread(self._store, key, thing)

    def _store(self, key: str, thing: Mapping[str, Any] | None) -> None:
        asked = {"key": base64.b64encode(f"/registry/{key}".encode()).decode()}
        if thing is not None:
            asked["value"] = base64.b64encode(json.dumps(thing).encode()).decode()
        address = urllib.parse.urlsplit(self.server.store)
        connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=_STORE_S)
        try:
            verb = "deleterange" if thing is None else "put"
            connection.request("POST", f"/v3/kv/{verb}", json.dumps(asked))
            answer = connection.getresponse()
            if answer.status != http.HTTPStatus.OK:
                raise ApiError(answer.status, answer.read().decode(errors="replace"))
            answer.read()
        finally:
            connection.close()


def collection(thing: Mapping[str, Any]) -> str:
    """Where objects of a kind are."""
    kind, version = thing["kind"], thing["apiVersion"]
    plural = _PLURALS.get(kind, f"{kind.lower()}s")
    root = f"/api/{version}" if version == "v1" else f"/apis/{version}"
    if kind in _WITHOUT_NAMESPACE:
        return f"{root}/{plural}"
    return f"{root}/namespaces/{thing['metadata']['namespace']}/{plural}"
