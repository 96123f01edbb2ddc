"""The shipped overlay for Istio under a real istiod: pickers, rights, gateway and workers as it says."""

import asyncio
import json
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import httpx
import pytest
import pytest_asyncio
import yaml

from tests.interop.istio.api import Object
from tests.interop.istio.gateway import ADMIN_PORT
from tests.interop.istio.stage import Stage
from tests.manifests.built import on_top, parse

pytestmark = pytest.mark.asyncio(loop_scope="session")
_DEADLINE_S: Final = 120.0
_MODEL: Final = "Qwen/Qwen3-0.6B"
_POOL: Final = "/apis/inference.networking.k8s.io/v1/namespaces/llm/inferencepools/llm"
_ROUTE: Final = "/apis/gateway.networking.k8s.io/v1/namespaces/llm/httproutes/llm"
_GATEWAY: Final = "/apis/gateway.networking.k8s.io/v1/namespaces/llm/gateways/inference-gateway"
_PICKERS: Final = "/apis/apps/v1/namespaces/llm/deployments/epp"
_PODS: Final = "/api/v1/namespaces/llm/pods"
_WORKERS: Final = 4


@dataclass(frozen=True)
class Overlay:
    """What is installed, and a client of its gateway."""

    stage: Stage
    client: httpx.AsyncClient

    @property
    def admin(self) -> str:
        """Of the gateway's Envoy."""
        return f"http://{self.client.base_url.host}:{ADMIN_PORT}"

    async def chat(self, messages: list[dict[str, str]], **more: Any) -> httpx.Response:
        body = {"model": _MODEL, "messages": messages, "max_tokens": 4, **more}
        return await self.client.post("/v1/chat/completions", json=body)

    async def pickers(self, count: int) -> None:
        """Have so many pickers, Ready and known to the gateway."""
        await self.stage.api.patch(_PICKERS, {"spec": {"replicas": count}})
        await eventually(lambda: self._is_known(count))

    async def _is_known(self, count: int) -> bool:
        pods = [pod for pod in await self.stage.api.list(_PODS) if is_picker(pod)]
        if len(pods) != count or not all(map(is_ready, pods)):
            return False
        page = await self.client.get(f"{self.admin}/clusters?format=json")
        endpoints = [
            host["address"]["socket_address"]["address"]
            for cluster in page.json()["cluster_statuses"]
            if cluster["name"].startswith("outbound|9002||epp.llm.")
            for host in cluster.get("host_statuses", ())
            if host["health_status"]["eds_health_status"] == "HEALTHY"
        ]
        return sorted(endpoints) == sorted(pod["status"]["podIP"] for pod in pods)


def names(pod: Object) -> list[str]:
    return [container["name"] for container in pod["spec"]["containers"]]


def is_picker(pod: Object) -> bool:
    return "epp" in names(pod)


def is_ready(pod: Object) -> bool:
    return any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", ()))


async def eventually(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(_DEADLINE_S):
        while not await condition():
            await asyncio.sleep(0.1)


def _rendered(stage: Stage, *components: str) -> list[Object]:
    settings = {
        "tokenize": {"models": [{"name": _MODEL, "path": str(stage.model)}]},
        "pool": {"look_interval_s": 1},
    }
    generator = {
        "name": "epp-settings",
        "behavior": "replace",
        "literals": [f"settings.yaml={yaml.safe_dump(settings)}"],
    }
    return list(
        parse(
            on_top(
                "overlays/istio",
                configMapGenerator=[generator],
                components=[f"components/{name}" for name in components],
            )
        )
    )


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def overlay(stage: Stage) -> AsyncIterator[Overlay]:
    """As ``kubectl apply -k`` installs it, with settings that name a tokenizer at hand, and four workers."""
    workers = on_top("workers/vllm/aggregated", replicas=[{"name": "vllm", "count": _WORKERS}])
    for thing in (*_rendered(stage), *parse(workers)):
        await stage.api.apply(thing)

    async def is_programmed() -> bool:
        gateway = await stage.api.get(_GATEWAY)
        pods = await stage.api.list(_PODS)
        states = conditions((gateway or {}).get("status", {}))
        return states.get("Programmed") == "True" and len(pods) == _WORKERS + 3 and all(map(is_ready, pods))

    await eventually(is_programmed)
    address = (await stage.api.call("GET", _GATEWAY))["status"]["addresses"][0]["value"]
    async with httpx.AsyncClient(base_url=f"http://{address}", timeout=30) as client:
        overlay = Overlay(stage, client)
        await eventually(lambda: _is_served(overlay))
        yield overlay


async def _is_served(overlay: Overlay) -> bool:
    try:
        return (await overlay.chat([{"role": "user", "content": "Hello"}])).status_code == 200
    except httpx.TransportError:
        return False


def conditions(status: Object) -> dict[str, str]:
    return {each["type"]: each["status"] for each in status.get("conditions", ())}


async def test_route_and_pool_are_taken(overlay: Overlay) -> None:
    for path in (_ROUTE, _POOL):
        (parent,) = (await overlay.stage.api.call("GET", path))["status"]["parents"]
        assert conditions(parent) == {"Accepted": "True", "ResolvedRefs": "True"}, path


async def test_envoy_takes_all_it_is_told(overlay: Overlay) -> None:
    page = await overlay.client.get(f"{overlay.admin}/stats?filter=update_rejected&format=json")
    rejected = {each["name"]: each["value"] for each in page.json()["stats"]}
    assert len(rejected) >= 3, "clusters, listeners, routes"
    assert not any(rejected.values()), rejected


async def test_the_network_policy_would_let_the_gateway_in(overlay: Overlay) -> None:
    (gateway,) = [pod for pod in await overlay.stage.api.list(_PODS) if not {"epp", "vllm"} & set(names(pod))]
    policy = await overlay.stage.api.call(
        "GET", "/apis/networking.k8s.io/v1/namespaces/llm/networkpolicies/epp"
    )
    (rule,) = policy["spec"]["ingress"][0]["from"][0]["podSelector"]["matchExpressions"]
    assert rule["operator"] == "Exists"
    assert rule["key"] in gateway["metadata"]["labels"]


async def test_conversations_stay_with_their_prefix(overlay: Overlay, tell: Callable[[str], None]) -> None:
    """Forty conversations of six turns, eight at a time; chance would bring 50 of 200 turns back."""
    served: dict[int, list[str]] = defaultdict(list)
    cached: list[int] = []

    async def talk(number: int) -> None:
        messages = [{"role": "system", "content": f"Conversation {number}. " + f"rule {number} " * 150}]
        for turn in range(6):
            messages.append({"role": "user", "content": f"question {turn} of {number}"})
            answer = await overlay.chat(messages)
            assert answer.status_code == 200, answer.text
            served[number].append(answer.headers["x-served-by"])
            cached.append(answer.json()["usage"]["prompt_tokens_details"]["cached_tokens"])
            messages.append(answer.json()["choices"][0]["message"])

    for first in range(0, 40, 8):
        async with asyncio.TaskGroup() as tasks:
            for number in range(first, first + 8):
                tasks.create_task(talk(number))
    assert len(cached) == 240
    again = sum(later == earlier for seen in served.values() for earlier, later in pairwise(seen))
    tell(f"{again} of 200 later turns of 40 conversations came to the worker of the turn before")
    assert again >= 120, f"{again} of 200 turns came to the worker of the turn before: {served}"
    assert len(Counter(name for seen in served.values() for name in seen)) == _WORKERS, "all of them work"


async def test_streamed_answers_pass(overlay: Overlay) -> None:
    answer = await overlay.chat(
        [{"role": "user", "content": "Count"}], stream=True, max_tokens=20, ignore_eos=True
    )
    assert answer.status_code == 200
    events = [line for line in answer.text.splitlines() if line.startswith("data: ")]
    assert events[-1] == "data: [DONE]"
    assert len(events) > 10


async def test_a_list_of_models_passes(overlay: Overlay) -> None:
    answer = await overlay.client.get("/v1/models")
    assert (answer.status_code, answer.json()["data"][0]["id"]) == (200, _MODEL)


async def test_a_killed_picker_comes_back(overlay: Overlay, tell: Callable[[str], None]) -> None:
    """While one of two is away the other answers; what was under way in the killed one may fail."""
    node = overlay.stage.node
    (place,) = node.places["llm/epp-0"]
    before = place.process
    assert before is not None
    outcomes: Counter[int] = Counter()

    async def ask(count: int) -> None:
        for _ in range(count):
            outcomes[(await overlay.chat([{"role": "user", "content": "Hello"}])).status_code] += 1

    async with asyncio.TaskGroup() as tasks:
        for _ in range(4):
            tasks.create_task(ask(25))
        before.kill()

    async def is_back() -> bool:
        return place.process is not before and await overlay._is_known(2)

    await eventually(is_back)
    tell(f"one of two pickers killed under 100 requests: {dict(outcomes)}")
    assert set(outcomes) <= {200, 500, 503}
    assert outcomes[200] >= 90, "one refused connection tells Envoy to leave it alone"
    await ask(10)


async def test_a_rewritten_model_keeps_its_name(overlay: Overlay) -> None:
    """With the right to read it, an InferenceModelRewrite: workers see the target, clients their own name."""
    for thing in _rendered(overlay.stage, "objectives"):
        if thing["kind"] == "Role":
            await overlay.stage.api.apply(thing)
    rule = {"matches": [{"model": {"type": "Exact", "value": "chat"}}], "targets": [{"modelRewrite": _MODEL}]}
    rewrite = {
        "apiVersion": "inference.networking.x-k8s.io/v1alpha2",
        "kind": "InferenceModelRewrite",
        "metadata": {"name": "chat", "namespace": "llm"},
        "spec": {"poolRef": {"group": "inference.networking.k8s.io", "name": "llm"}, "rules": [rule]},
    }
    await overlay.stage.api.apply(rewrite)
    question = [{"role": "user", "content": "Hello"}]

    async def is_rewritten() -> bool:
        for _ in range(24):  # by both pickers, as good as surely
            if (await overlay.chat(question, model="chat")).status_code != 200:
                return False
        return True

    await eventually(is_rewritten)
    whole = await overlay.chat(question, model="chat")
    assert whole.json()["model"] == "chat"
    streamed = await overlay.chat(question, model="chat", stream=True, max_tokens=20, ignore_eos=True)
    chunks = [json.loads(line[6:]) for line in streamed.text.splitlines() if line.startswith("data: {")]
    assert len(chunks) > 10
    assert {chunk["model"] for chunk in chunks} == {"chat"}
    assert (await overlay.chat(question)).json()["model"] == _MODEL


async def test_without_pickers_the_pool_decides(overlay: Overlay) -> None:
    api = overlay.stage.api
    await overlay.pickers(0)
    for _ in range(10):
        assert (await overlay.chat([{"role": "user", "content": "Hello"}])).status_code == 200, "FailOpen"
    (closed,) = [each for each in _rendered(overlay.stage, "fail-close") if each["kind"] == "InferencePool"]
    await api.apply(closed)

    async def is_refused() -> bool:
        return (await overlay.chat([{"role": "user", "content": "Hello"}])).status_code == 500

    await eventually(is_refused)
    await overlay.pickers(2)
    answer = await overlay.chat([{"role": "user", "content": "Hello"}])
    assert answer.status_code == 200, answer.text
