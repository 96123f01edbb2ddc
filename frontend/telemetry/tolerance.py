"""Counts what migration, the waiting queue and the circuit breaker tell."""

from epp.telemetry.bounded import BoundedLabels
from frontend.telemetry.catalog import FrontendCatalog
from frontend.telemetry.series import MAX_MODELS
from frontend.tolerance.line import Full
from frontend.tolerance.migration import TOO_LONG

_KINDS = {False: "new_request", True: "ongoing_request"}
_ANY = ("aggregated", "default")
"""``worker_type`` and ``policy_class`` of the one line there is."""


class MigrationMetrics:
    """Implements :class:`frontend.tolerance.migration.MigrationCounters`."""

    def __init__(self, catalog: FrontendCatalog) -> None:
        self._catalog = catalog
        self._models = BoundedLabels(MAX_MODELS)

    def migrated(self, model: str, *, begun: bool) -> None:
        """A request is taken elsewhere."""
        self._catalog.migration_total.labels(self._models(model), _KINDS[begun], "migrated").inc()

    def resumed(self, model: str, seconds: float) -> None:
        """Its answer goes on."""
        self._catalog.migration_s.labels(self._models(model)).observe(seconds)

    def given_up(self, model: str, *, begun: bool, why: str) -> None:
        """A request stayed lost."""
        self._catalog.migration_total.labels(self._models(model), _KINDS[begun], why).inc()
        if why == TOO_LONG:
            self._catalog.migration_too_long_total.labels(self._models(model)).inc()


class QueueMetrics:
    """Implements :class:`frontend.tolerance.queue.QueueCounters`."""

    def __init__(self, catalog: FrontendCatalog) -> None:
        self._catalog = catalog
        self._models = BoundedLabels(MAX_MODELS)

    def waiting(self, model: str, requests: int, tokens: int) -> None:
        """That many more (or fewer) are in line."""
        label = self._models(model)
        self._catalog.queued_requests.labels(label).inc(requests)
        self._catalog.queue_requests.labels(label, *_ANY).inc(requests)
        self._catalog.queue_tokens.labels(label, *_ANY).inc(tokens)

    def turned_away(self, model: str, reason: Full) -> None:
        """The line was full."""
        self._catalog.queue_backpressure_total.labels(self._models(model), *_ANY, reason.value).inc()


class BreakerMetrics:
    """Told by :class:`frontend.tolerance.breaker.Breakers` of each change."""

    def __init__(self, catalog: FrontendCatalog) -> None:
        self._catalog = catalog

    def changed(self, worker_id: int, is_open: bool) -> None:
        """A circuit opened, or its worker is in use again (or gone)."""
        if is_open:
            self._catalog.breaker_open.labels(str(worker_id)).set(1)
        else:
            self._catalog.breaker_open.remove(str(worker_id))
