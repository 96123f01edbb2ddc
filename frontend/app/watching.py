"""What watches the requests, put together from the configuration."""

from prometheus_client import CollectorRegistry

from epp.telemetry.logs import FieldLog
from frontend.config.model import TracingConfig
from frontend.http.server import HttpServer
from frontend.telemetry.accesslog import AccessLog
from frontend.telemetry.catalog import FrontendCatalog
from frontend.telemetry.disagg import DisaggCounters
from frontend.telemetry.loop import LoopDelay
from frontend.telemetry.observer import FrontendObserver
from frontend.telemetry.tolerance import BreakerMetrics, MigrationMetrics, QueueMetrics
from frontend.telemetry.tracing import make_tracer


class Watching:
    """Metrics, access log and traces of one frontend."""

    def __init__(self, config: TracingConfig, log: FieldLog) -> None:
        """Raises ConfigError for traces that cannot be made."""
        self.catalog = FrontendCatalog(CollectorRegistry(), config.metrics_prefix)
        self._tracer = make_tracer(config)
        self._loop_delay = LoopDelay(self.catalog)
        self.observer = FrontendObserver(
            self.catalog, AccessLog(log) if config.access_log else None, self._tracer
        )
        self.disagg = DisaggCounters(self.catalog)
        self.migration = MigrationMetrics(self.catalog)
        self.queue = QueueMetrics(self.catalog)
        self.breakers = BreakerMetrics(self.catalog)

    def page(self, server: HttpServer) -> bytes:
        """The metrics page, with what ``server`` holds now."""
        self.catalog.connections.set(server.connections)
        self.catalog.body_bytes.set(server.body_bytes)
        return self.observer.page()

    def start(self) -> None:
        """Begin to measure the event loop."""
        self._loop_delay.start()

    def stop(self) -> None:
        """End, sending what is left."""
        self._loop_delay.stop()
        self._tracer.close()
