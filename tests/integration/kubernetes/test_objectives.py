"""InferenceObjective and InferenceModelRewrite on a real API server, with the shipped right to read them."""

import asyncio
import sys
from pathlib import Path
from typing import Any

import grpc.aio
import httpx
import pytest
import yaml
from envoy.service.ext_proc.v3 import external_processor_pb2 as messages

from epp.core.events import BodyMode, Modes
from epp.core.poolrules import PoolRules
from epp.discovery.kubernetes import KubernetesDiscovery
from epp.testing.calls import request_body, request_headers
from epp.testing.kubeapi.objects import BINDINGS, ROLES, reader
from epp.testing.process import ChildProcess
from epp.wire.kubernetes.objectives import LLM_D
from tests.integration.kubernetes.conftest import DEADLINE_S, Space, eventually

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(1500)]
OLDER = "inference.networking.x-k8s.io"
both_groups = pytest.mark.parametrize("group", [LLM_D, OLDER])
COMPONENT = Path(__file__).parents[3] / "gateway-manifests/components/objectives/kustomization.yaml"
BODY = b'{ "model" : "chat", "prompt": "hello", "temperature": 0.50 }'


class Rules:
    """Objectives and rewrites of one group in one namespace."""

    def __init__(self, space: Space, group: str) -> None:
        self._admin = space.server.admin
        self._version = f"{group}/v1alpha2"
        self._root = f"/apis/{self._version}/namespaces/{space.name}"

    def add(self, kind: str, name: str, spec: dict[str, Any], pool: str = "pool") -> None:
        tree = {"apiVersion": self._version, "kind": kind, "metadata": {"name": name}}
        self._admin.create(self._path(kind), {**tree, "spec": {"poolRef": {"name": pool}, **spec}})

    def edit(self, kind: str, name: str, **spec: Any) -> None:
        self._admin.patch(f"{self._path(kind)}/{name}", {"spec": spec})

    def remove(self, kind: str, name: str) -> None:
        self._admin.delete(f"{self._path(kind)}/{name}")

    def _path(self, kind: str) -> str:
        return f"{self._root}/{kind.lower()}s"


def serve(space: Space) -> None:
    """A pool with one pod."""
    space.add_pool("a")
    space.add("w", "10.0.0.1")


def allow(space: Space) -> None:
    """Exactly what the component adds to the picker's Role."""
    (patch,) = yaml.safe_load(COMPONENT.read_text())["patches"]
    role, binding = reader("picker", "rules")
    role["rules"] = [change["value"] for change in yaml.safe_load(patch["patch"])]
    space.server.admin.create(ROLES.format(space.name), role)
    space.server.admin.create(BINDINGS.format(space.name), binding)


def to(*models: str, matching: str | None = None) -> dict[str, Any]:
    rule: dict[str, Any] = {"targets": [{"modelRewrite": model} for model in models]}
    if matching is not None:
        rule["matches"] = [{"model": {"value": matching}}]
    return rule


async def ready(discovery: KubernetesDiscovery) -> None:
    await eventually(
        lambda: bool(discovery.snapshot.endpoints) and discovery.problem is None,
        lambda: discovery.problem,
    )


@both_groups
async def test_objectives_come_change_and_go(space: Space, group: str) -> None:
    allow(space)
    serve(space)
    made, rules = Rules(space, group), PoolRules()
    made.add("InferenceObjective", "batch", {"priority": -5})
    made.add("InferenceObjective", "plain", {})
    made.add("InferenceObjective", "foreign", {"priority": 7}, pool="another-pool")
    async with space.discovered(rules=rules) as discovery:
        await eventually(lambda: rules.priorities == {"batch": -5, "plain": 0}, lambda: rules.priorities)
        await ready(discovery)
        made.edit("InferenceObjective", "batch", priority=9)
        made.remove("InferenceObjective", "plain")
        made.add("InferenceObjective", "new", {"priority": 1})
        await eventually(lambda: rules.priorities == {"batch": 9, "new": 1}, lambda: rules.priorities)


@both_groups
async def test_rewrites_come_change_and_go(space: Space, group: str) -> None:
    allow(space)
    serve(space)
    made, rules = Rules(space, group), PoolRules()

    def models(name: str) -> tuple[str, ...]:
        targets = rules.rewrites.targets(name)
        return targets.models if targets is not None else ()

    made.add("InferenceModelRewrite", "r", {"rules": [to("a", "b", matching="chat")]})
    made.add("InferenceModelRewrite", "foreign", {"rules": [to("x")]}, pool="another-pool")
    async with space.discovered(rules=rules) as discovery:
        await eventually(lambda: models("chat") == ("a", "b"))
        assert models("other") == ()
        await ready(discovery)
        made.edit("InferenceModelRewrite", "r", rules=[to("c", matching="chat"), to("rest")])
        await eventually(lambda: models("chat") == ("c",))
        assert models("other") == ("rest",)
        made.remove("InferenceModelRewrite", "r")
        await eventually(lambda: models("chat") == ())


async def test_objects_move_from_one_group_to_the_other(space: Space) -> None:
    allow(space)
    serve(space)
    before, after, rules = Rules(space, OLDER), Rules(space, LLM_D), PoolRules()
    before.add("InferenceObjective", "moved", {"priority": 1})
    before.add("InferenceObjective", "stays", {"priority": 3})
    async with space.discovered(rules=rules):
        await eventually(lambda: rules.priorities == {"moved": 1, "stays": 3}, lambda: rules.priorities)
        after.add("InferenceObjective", "moved", {"priority": 2})
        await eventually(lambda: rules.priorities == {"moved": 2, "stays": 3}, lambda: rules.priorities)
        before.remove("InferenceObjective", "moved")
        before.edit("InferenceObjective", "stays", priority=4)
        await eventually(lambda: rules.priorities == {"moved": 2, "stays": 4}, lambda: rules.priorities)


async def test_without_the_right_they_are_not_used_and_nothing_is_wrong(
    space: Space, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    serve(space)
    rules = PoolRules()
    Rules(space, LLM_D).add("InferenceObjective", "batch", {"priority": -5})
    async with space.discovered(rules=rules) as discovery:
        await ready(discovery)
        await eventually(lambda: caplog.text.count("inferenceobjectives is not used") == 2)
        assert 'cannot list resource "inferenceobjectives"' in caplog.text
        assert not rules.priorities


async def test_a_picker_rewrites_the_body(space: Space, tmp_path: Path) -> None:
    allow(space)
    serve(space)
    Rules(space, LLM_D).add("InferenceModelRewrite", "r", {"rules": [to("small", matching="chat")]})
    kubeconfig = space.server.kubeconfig(space.name, {"token": "picker-token"})
    ports = ("--grpc-port=0", "--grpc-health-port=0", "--metrics-port=0", "--secure-serving=false")
    pool = ("--pool-name=pool", f"--pool-namespace={space.name}", f"--kubeconfig={kubeconfig}")
    argv = [sys.executable, "-m", "epp", "serve", *ports, *pool, "--no-scrape-metrics"]
    async with (
        ChildProcess("picker", argv, tmp_path / "picker.log") as picker,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{picker.ready['metrics_port']}", timeout=60) as page,
        grpc.aio.insecure_channel(f"127.0.0.1:{picker.ready['grpc_port']}") as channel,
        asyncio.timeout(DEADLINE_S),
    ):
        while (await page.get("/readyz")).status_code != 200:
            await asyncio.sleep(0.02)
        while (sent := await _sent(channel)) == BODY:
            await asyncio.sleep(0.02)
        assert sent == BODY.replace(b'"chat"', b'"small"')


async def _sent(channel: grpc.aio.Channel) -> bytes:
    """The body as the picker gives it to the gateway."""
    stream = channel.stream_stream("/envoy.service.ext_proc.v3.ExternalProcessor/Process")(timeout=60)
    duplex = BodyMode.FULL_DUPLEX_STREAMED
    head = {":method": "POST", ":path": "/v1/completions"}
    await stream.write(request_headers(head, modes=Modes(duplex, duplex)))
    await stream.write(request_body(BODY, end_of_stream=True))
    await stream.read()
    answer = messages.ProcessingResponse.FromString(await stream.read())
    stream.cancel()
    return answer.request_body.response.body_mutation.streamed_response.body
