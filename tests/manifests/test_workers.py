"""What the picker, and a frontend beside an engine, read of the shipped workers' pods."""

from typing import Any

import msgspec
import pytest

from epp.core.endpoints import Endpoint, EngineKind, Role
from epp.wire.kubernetes.pods import read_pod, workers_of
from tests.manifests.built import ENGINES, Object, containers, objects

_ADDRESS = "10.0.0.7"
_POOL, _ENGINE = 8000, 8001


def _deployments(name: str) -> list[Object]:
    return [thing for thing in objects(name) if thing["kind"] == "Deployment"]


def _seen(deployment: Object, port: int) -> Endpoint:
    """The worker a pod of a deployment is, to somebody who looks at one target port."""
    template = deployment["spec"]["template"]
    status = {"podIP": _ADDRESS, "conditions": [{"type": "Ready", "status": "True"}]}
    pod: dict[str, Any] = {
        "metadata": {**template["metadata"], "name": "pod-0", "namespace": "llm"},
        "spec": template["spec"],
        "status": status,
    }
    workers = workers_of(read_pod(msgspec.json.encode(pod)), (port,))
    assert not workers.problems
    (endpoint,) = workers.endpoints
    return endpoint


def _listens(deployment: Object) -> dict[str, int]:
    return {port["name"]: port["containerPort"] for c in containers(deployment) for port in c["ports"]}


@pytest.mark.parametrize("engine", ENGINES)
def test_aggregated(engine: str) -> None:
    (deployment,) = _deployments(f"workers/{engine}/aggregated")
    worker = _seen(deployment, _POOL)
    assert (worker.role, worker.engine) == (Role.AGGREGATED, EngineKind(engine))
    assert _listens(deployment)["http"] == _POOL
    page = "/prometheus/metrics" if engine == "trtllm" else "/metrics"
    assert worker.metrics == f"http://{_ADDRESS}:{_POOL}{page}"
    if engine == "trtllm":  # two pickers cannot share its events
        assert worker.kv_events is None
    else:
        assert worker.kv_events == f"tcp://{_ADDRESS}:5557"
        assert worker.kv_replay == f"tcp://{_ADDRESS}:5558"


@pytest.mark.parametrize("engine", ENGINES)
def test_disaggregated(engine: str) -> None:
    found = {}
    for deployment in _deployments(f"workers/{engine}/disaggregated"):
        picked, forwarded = _seen(deployment, _POOL), _seen(deployment, _ENGINE)
        assert picked.worker_id == forwarded.worker_id, "the header's number must mean the same worker"
        assert picked.metrics == forwarded.metrics
        assert picked.metrics.startswith(f"http://{_ADDRESS}:{_ENGINE}/")
        assert forwarded.engine is EngineKind(engine)
        listens = _listens(deployment)
        assert listens["engine"] == _ENGINE
        assert (listens.get("http") == _POOL) == (picked.role is Role.DECODE)
        found[picked.role] = forwarded
    assert set(found) == {Role.PREFILL, Role.DECODE}
    bootstrap = f"{_ADDRESS}:8998" if engine == "sglang" else None
    assert found[Role.PREFILL].bootstrap == bootstrap
