"""Counts what the disaggregation orchestrator tells."""

from frontend.orchestrate.failures import Reason
from frontend.telemetry.catalog import FrontendCatalog


class DisaggCounters:
    """Implements :class:`frontend.orchestrate.counters.OrchestratorCounters`."""

    def __init__(self, catalog: FrontendCatalog) -> None:
        self._catalog = catalog

    def prefill_done(self, seconds: float) -> None:
        """A prefill leg brought what decoding needs."""
        self._catalog.prefill_s.observe(seconds)
        self._catalog.disagg_total.labels("split", "").inc()

    def prefill_failed(self, reason: Reason) -> None:
        """A prefill leg brought nothing."""
        self._catalog.prefill_failures_total.labels(reason.value).inc()

    def fallback(self, reason: Reason) -> None:
        """A request with a prefill worker at hand was served whole for want of a way."""
        self._catalog.disagg_total.labels("fallback", reason.value).inc()

    def bypassed(self, reason: Reason) -> None:
        """A request stayed whole by rule."""
        self._catalog.disagg_total.labels("bypassed", reason.value).inc()

    def terminal(self) -> None:
        """The prefill's answer was the whole answer."""
        self._catalog.disagg_total.labels("terminal", "").inc()
