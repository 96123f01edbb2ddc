"""gRPC health: one board of names, shown on its own plaintext port and on the ext_proc port.

``liveness`` says that the process answers; every other name says whether to send requests here. Envoy asks
its picker cluster for the ext_proc service's own name, Kubernetes probes for ``liveness`` and ``readiness``,
the inference-extension's conformance probes for ``inference-extension``, plain clients for "".
"""

from typing import Any, Final

from grpc_health.v1 import health, health_pb2, health_pb2_grpc

_health: Final[Any] = health  # the package ships no types
_health_grpc: Final[Any] = health_pb2_grpc

EXT_PROC_SERVICE: Final = "envoy.service.ext_proc.v3.ExternalProcessor"
LIVENESS: Final = "liveness"
READINESS_NAMES: Final = ("", "readiness", EXT_PROC_SERVICE, "inference-extension")

_SERVING: Final[Any] = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING: Final[Any] = health_pb2.HealthCheckResponse.NOT_SERVING


class HealthBoard:
    """What the health service answers; ``Check`` and ``Watch`` both."""

    def __init__(self) -> None:
        self._servicer: Any = _health.aio.HealthServicer()

    def register(self, server: Any) -> None:
        """Serve the board on a grpc.aio server."""
        _health_grpc.add_HealthServicer_to_server(self._servicer, server)

    async def set_live(self) -> None:
        """The process answers."""
        await self._servicer.set(LIVENESS, _SERVING)

    async def set_ready(self, *, ready: bool) -> None:
        """Whether requests are welcome; liveness does not change."""
        for name in READINESS_NAMES:
            await self._servicer.set(name, _SERVING if ready else _NOT_SERVING)
