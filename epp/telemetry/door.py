"""The door's facts as metrics."""

from epp.core.outcomes import Ending
from epp.telemetry.catalog import Catalog
from epp.telemetry.families import Counter


class DoorCounters:
    """Satisfies the door's ``DoorMetrics``."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._endings: dict[str, Counter] = {
            e.value: catalog.requests_finished_total.labels(e.value) for e in Ending
        }

    def stream_opened(self) -> None:
        """A gateway opened a stream."""
        self._catalog.streams_inflight.inc()

    def stream_closed(self) -> None:
        """A stream ended."""
        self._catalog.streams_inflight.dec()
        self._catalog.streams_total.inc()

    def request_finished(self, ending: str) -> None:
        """A steered request ended."""
        self._endings[ending].inc()

    def model_restored(self, outcome: str) -> None:
        """The answer to a request that was given another model ended."""
        self._catalog.models_restored_total.labels(outcome).inc()

    def immediate_response(self, status: int, reason: str) -> None:
        """The client was answered here."""
        self._catalog.immediate_total.labels(str(status), reason).inc()

    def protocol_error(self, kind: str) -> None:
        """A gateway broke the protocol."""
        self._catalog.protocol_errors_total.labels(kind).inc()

    def served_elsewhere(self) -> None:
        """Another endpoint than the picked one served."""
        self._catalog.served_mismatch_total.inc()

    def pick_failed(self) -> None:
        """The engine raised."""
        self._catalog.pick_failures_total.inc()
