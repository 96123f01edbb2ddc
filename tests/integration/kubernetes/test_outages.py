"""The API server goes away, forgets, or says no."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, suppress
from pathlib import Path

import msgspec
import pytest

from epp.discovery.kubernetes import KubernetesDiscovery, PoolReference, find_access
from epp.discovery.kubernetes.client import ApiClient, RefusedError
from epp.discovery.kubernetes.listing import Listing
from epp.discovery.kubernetes.reflector import Reflector
from epp.discovery.source import NullDiscoveryMetrics
from epp.testing.kubeapi.objects import pool
from epp.testing.kubeapi.pki import Authority
from epp.testing.kubeapi.server import ApiError
from epp.wire.kubernetes.api import EventKind
from tests.integration.kubernetes.conftest import Space, eventually, places, settles

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(1500)]


async def test_while_it_is_down_the_known_set_stays_and_what_changed_is_seen_after(space: Space) -> None:
    space.add_pool()
    for i in range(3):
        space.add(f"w{i}", f"10.0.0.{i + 1}")
    everybody = {f"10.0.0.{i + 1}:8000" for i in range(3)}
    async with space.discovered() as discovery, space.discovered() as another:
        await settles(discovery, everybody)
        await settles(another, everybody)
        await space.server.kill()
        try:
            await eventually(lambda: "Kubernetes API at 127.0.0.1" in (discovery.problem or ""))
            assert places(discovery) == places(another) == everybody
        finally:
            await space.server.start()
        space.remove("w0")
        space.add("w3", "10.0.0.4")
        for one in (discovery, another):
            await settles(one, everybody - {"10.0.0.1:8000"} | {"10.0.0.4:8000"})


class Forgetful(ApiClient):
    """Before the second watch is opened, the server is killed and started: it remembers nothing before.
    Lists are counted when they are answered: a server that has just started may refuse some."""

    def __init__(self, space: Space) -> None:
        config = space.server.kubeconfig(space.name, {"token": "picker-token"})
        super().__init__(find_access({"KUBECONFIG": str(config)}))
        self._space = space
        self.lists = self.watches = 0

    async def get(self, target: str, timeout_s: float) -> bytes:
        answer = await super().get(target, timeout_s)
        self.lists += 1
        return answer

    async def lines(self, target: str, idle_s: float) -> AsyncGenerator[list[bytes], None]:
        self.watches += 1
        if self.watches == 2:
            self._space.add("later", "10.0.0.2")
            await self._space.server.kill()
            await self._space.server.start()
            self._space.add("last", "10.0.0.3")
        async with aclosing(super().lines(target, idle_s)) as batches:
            async for lines in batches:
                yield lines


class Names:
    def __init__(self) -> None:
        self.there: set[str] = set()

    async def replace(self, listing: Listing, objects: Sequence[msgspec.Raw]) -> None:
        self.there = {_name(data) for data in objects}

    def apply(self, kind: EventKind, data: msgspec.Raw) -> None:
        (self.there.discard if kind is EventKind.DELETED else self.there.add)(_name(data))


def _name(data: msgspec.Raw) -> str:
    return str(msgspec.json.decode(data)["metadata"]["name"])


async def test_a_version_the_server_no_longer_knows(space: Space) -> None:
    space.add("first", "10.0.0.1")
    client, names = Forgetful(space), Names()
    reflector = Reflector(client, (Listing(space.pods),), names, NullDiscoveryMetrics(), watch_s=2)
    task = asyncio.create_task(reflector.run())
    try:
        await eventually(lambda: names.there == {"first", "later", "last"})
        await eventually(lambda: client.watches > 2 and reflector.problem is None)
        assert client.lists == 2, "one at the start, one when the version had expired"
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_without_the_right_to_read_it_says_so_and_goes_on_once_it_is_given(space: Space) -> None:
    space.add_pool()
    space.add("w", "10.0.0.1")
    async with space.discovered({"token": "stranger-token"}) as discovery:
        await eventually(lambda: "forbidden" in (discovery.problem or ""))
        assert 'User "stranger" cannot list resource "inferencepools"' in (discovery.problem or "")
        binding = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{space.name}/rolebindings/epp"
        subject = {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "stranger"}
        space.server.admin.patch(binding, {"subjects": [subject]})
        await settles(discovery, {"10.0.0.1:8000"})


async def test_a_token_the_server_does_not_know(space: Space) -> None:
    async with space.discovered({"token": "made-up"}) as discovery:
        await eventually(lambda: "Unauthorized" in (discovery.problem or ""))


@pytest.mark.parametrize("path", ["/api/v1/secrets", "/api/v1/pods", "/api/v1/namespaces/{}/services"])
async def test_the_picker_may_read_nothing_else(space: Space, path: str) -> None:
    config = space.server.kubeconfig(space.name, {"token": "picker-token"})
    client = ApiClient(find_access({"KUBECONFIG": str(config)}))
    assert await client.get(space.pods, 10)
    with pytest.raises(RefusedError) as refusal:
        await client.get(path.format(space.name), 10)
    assert refusal.value.status == 403


async def test_inside_a_pod_the_service_account_speaks(space: Space, tmp_path: Path) -> None:
    """Token and authority are files, read anew for every call."""
    space.add_pool()
    space.add("w", "10.0.0.1")
    (tmp_path / "token").write_text("made-up")
    (tmp_path / "ca.crt").write_bytes(space.server.authority.pair.cert.read_bytes())
    there = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(space.server.port)}
    discovery = KubernetesDiscovery(PoolReference(space.name, "pool"), find_access(there, tmp_path))
    task = asyncio.create_task(discovery.run())
    try:
        await eventually(lambda: "Unauthorized" in (discovery.problem or ""))
        (tmp_path / "token").write_text("picker-token\n")
        await settles(discovery, {"10.0.0.1:8000"})
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_a_client_certificate_instead_of_a_token(space: Space) -> None:
    space.add_pool()
    space.add("w", "10.0.0.1")
    pair = space.server.authority.issue("picker", "picker")
    user = {"client-certificate": str(pair.cert), "client-key": str(pair.key)}
    async with space.discovered(user) as discovery:
        await settles(discovery, {"10.0.0.1:8000"})


async def test_an_authority_that_did_not_sign_the_server(space: Space, tmp_path: Path) -> None:
    other = Authority(tmp_path).pair.cert
    (tmp_path / "token").write_text("picker-token")
    (tmp_path / "ca.crt").write_bytes(other.read_bytes())
    there = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(space.server.port)}
    client = ApiClient(find_access(there, tmp_path))
    with pytest.raises(Exception, match="CERTIFICATE_VERIFY_FAILED"):
        await client.get(space.pods, 10)


async def test_the_test_server_refuses_what_a_cluster_would(space: Space) -> None:
    """Otherwise the tests above would prove little."""
    with pytest.raises(ApiError, match="targetPorts"):
        space.server.admin.create(space.pools, {**pool("x", {"a": "b"}, []), "metadata": {"name": "x"}})
