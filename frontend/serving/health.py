"""``/health`` and ``/live`` in the forms Dynamo's frontend answers with."""

from typing import Any, Final

from epp.core.endpoints import Endpoint, PoolSnapshot

LIVE: Final = {"status": "live", "message": "Service is live"}


def health(snapshot: PoolSnapshot, *, draining: bool) -> tuple[int, dict[str, Any]]:
    """Status and body. Healthy without a single worker too: a frontend that waits for workers is no reason to
    start it again; ``/v1/models/{model}/ready`` says whether requests can be served."""
    page: dict[str, Any] = {
        "status": "healthy",
        "endpoints": sorted({_name(endpoint) for endpoint in snapshot.endpoints}),
        "instances": [_instance(endpoint) for endpoint in snapshot.endpoints],
    }
    if not draining:
        return 200, page
    return 503, {**page, "status": "not_ready", "stage": "draining"}


def _name(endpoint: Endpoint) -> str:
    return f"http://{endpoint.namespace}.{endpoint.role.value}.generate"


def _instance(endpoint: Endpoint) -> dict[str, Any]:
    return {
        "component": endpoint.role.value,
        "endpoint": "generate",
        "namespace": endpoint.namespace,
        "instance_id": endpoint.worker_id,
        "name": endpoint.name,
        "engine": endpoint.engine.value,
        "dp_size": endpoint.dp_size,
        "transport": {"http": endpoint.host_port},
    }
