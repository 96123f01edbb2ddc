"""The ext_proc server on grpc.aio: ports, limits, readiness, drain."""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import grpc

from epp.config.model import ServerConfig
from epp.core.outcomes import DropReason, Refused
from epp.extproc.aio.health import EXT_PROC_SERVICE, HealthBoard
from epp.extproc.aio.stream import Stream
from epp.extproc.aio.tls import CertificateSource
from epp.extproc.engine_api import PickEngine
from epp.extproc.metrics import DoorMetrics

_log = logging.getLogger(__name__)

QUIET_S: Final = 2.0
"""A drain's first phase is over when no stream was opened for this long: gateways have heard."""
_MESSAGE_MARGIN_BYTES: Final = 1024 * 1024
"""A body just over the bound still arrives, to be answered 413 instead of a broken stream."""
_STREAM_WINDOW_BYTES: Final = 1024 * 1024
"""Receive window per stream, so that a body of some 430 KB comes without waiting for the window. Far
larger ones make Envoy's outbound flood protection cut the connection when many clients abort."""


@dataclass(frozen=True, slots=True)
class BoundPorts:
    """The ports really listened on."""

    grpc: int
    health: int


class ExtProcServer:
    """The door. ``start``, then ``set_ready``; ``drain`` and ``stop`` end it."""

    def __init__(
        self, engine: PickEngine, config: ServerConfig, metrics: DoorMetrics, *, quiet_s: float = QUIET_S
    ) -> None:
        self._engine = engine
        self._config = config
        self._metrics = metrics
        self._quiet_s = quiet_s
        self._health = HealthBoard()
        self._streams: set[Stream] = set()
        self._in_flight = 0
        self._opened = 0
        self._server: Any = None
        self._health_server: Any = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def open_streams(self) -> int:
        """Streams open now, refused ones among them."""
        return len(self._streams)

    async def start(self) -> BoundPorts:
        """Listen; not ready yet. Raises OSError for a port in use and TlsError for a bad certificate."""
        self._server = grpc.aio.server(options=_options(self._config))
        handler: Any = grpc.stream_stream_rpc_method_handler  # bytes in, bytes out: no serializers
        self._server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(EXT_PROC_SERVICE, {"Process": handler(self._process)}),)
        )
        self._health_server = grpc.aio.server(options=(("grpc.so_reuseport", 0),))
        for server in (self._server, self._health_server):
            self._health.register(server)
        await self._health.set_live()
        await self._health.set_ready(ready=False)
        ports = BoundPorts(grpc=self._bind(), health=self._bind_health())
        await self._server.start()
        await self._health_server.start()
        return ports

    def set_ready(self, ready: bool) -> None:
        """Tell gateways whether to send requests; takes effect at once for watchers and the next check."""
        task = asyncio.get_running_loop().create_task(self._health.set_ready(ready=ready))
        self._tasks.add(task)
        task.add_done_callback(self._told)

    async def drain(self, timeout_s: float) -> None:
        """Leave without losing a request, in at most ``timeout_s``.

        First gateways are told (health), while new streams are still served until they cease or half the
        time is over. Then connections are told to go away, streams that wait for a response whose
        body does not pass here are let go (the response takes no harm), and the others may finish.
        """
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + timeout_s
        await self._health.set_ready(ready=False)
        await self._wait_for_quiet(loop.time() + timeout_s / 2)
        stopping = loop.create_task(self._server.stop(max(0.0, deadline_s - loop.time())))
        for stream in tuple(self._streams):
            stream.detach()
        await stopping
        await self._health_server.stop(0)

    async def stop(self) -> None:
        """End at once; open streams are cut."""
        for server in (self._server, self._health_server):
            if server is not None:
                await server.stop(0)

    def _told(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("health could not be changed", exc_info=error)

    # --- streams -------------------------------------------------------------------------------------------

    async def _process(self, _requests: object, context: Any) -> None:
        shed = self._shed()
        stream = Stream(context, self._engine, self._config, self._metrics, shed)
        self._streams.add(stream)
        self._opened += 1
        self._in_flight += shed is None
        self._metrics.stream_opened()
        try:
            await stream.run()
        finally:
            self._in_flight -= shed is None
            self._streams.discard(stream)
            self._metrics.stream_closed()

    def _shed(self) -> Refused | None:
        if len(self._streams) >= self._config.max_streams:
            return Refused(503, "the endpoint picker has too many streams open", DropReason.UNAVAILABLE)
        if self._in_flight >= self._config.max_inflight_requests:
            retry_s = self._config.retry_after_s
            headers = (("retry-after", str(retry_s)),) if retry_s > 0 else ()
            return Refused(429, "too many requests in flight", DropReason.SATURATED, headers)
        return None

    async def _wait_for_quiet(self, until_s: float) -> None:
        loop = asyncio.get_running_loop()
        seen = -1
        while self._opened != seen and (left_s := until_s - loop.time()) > 0:
            seen = self._opened
            await asyncio.sleep(min(self._quiet_s, left_s))

    # --- ports ---------------------------------------------------------------------------------------------

    def _bind(self) -> int:
        address = _address(self._config.bind_address, self._config.grpc_port)
        if not self._config.tls.enabled:
            return _bound(self._server, address, None)
        return _bound(self._server, address, CertificateSource(self._config.tls).credentials())

    def _bind_health(self) -> int:
        address = _address(self._config.bind_address, self._config.grpc_health_port)
        return _bound(self._health_server, address, None)


def _options(config: ServerConfig) -> Sequence[tuple[str, int]]:
    return (
        ("grpc.max_receive_message_length", config.max_body_bytes + _MESSAGE_MARGIN_BYTES),
        ("grpc.max_send_message_length", -1),
        ("grpc.http2.lookahead_bytes", _STREAM_WINDOW_BYTES),
        # gRPC itself drops calls at random beyond 1000 that wait to be accepted; the bound is ours to answer.
        ("grpc.server.max_pending_requests", config.max_streams),
        ("grpc.server.max_pending_requests_hard_limit", 2 * config.max_streams),
        ("grpc.so_reuseport", 0),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", 5000),
    )


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _bound(server: Any, address: str, credentials: grpc.ServerCredentials | None) -> int:
    try:
        if credentials is None:
            return int(server.add_insecure_port(address))
        return int(server.add_secure_port(address, credentials))
    except RuntimeError as error:
        raise OSError(f"cannot listen on {address}: {error}") from error
