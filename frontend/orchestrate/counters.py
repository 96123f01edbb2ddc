"""What the orchestrator tells of its work; telemetry binds it to metrics."""

from typing import Protocol

from frontend.orchestrate.failures import Reason


class OrchestratorCounters(Protocol):
    """One call per fact; none may raise."""

    def prefill_done(self, seconds: float) -> None:
        """A prefill leg brought what decoding needs."""
        ...

    def prefill_failed(self, reason: Reason) -> None:
        """A prefill leg brought nothing."""
        ...

    def fallback(self, reason: Reason) -> None:
        """A request with a prefill worker at hand was served by its decode worker alone for want of a way."""
        ...

    def bypassed(self, reason: Reason) -> None:
        """A request stayed whole by rule: it is below a threshold."""
        ...

    def terminal(self) -> None:
        """The prefill's answer was the whole answer; nothing was decoded."""
        ...


class NoCounters:
    """Counts nothing."""

    def prefill_done(self, seconds: float) -> None:
        """See :class:`OrchestratorCounters`."""

    def prefill_failed(self, reason: Reason) -> None:
        """See :class:`OrchestratorCounters`."""

    def fallback(self, reason: Reason) -> None:
        """See :class:`OrchestratorCounters`."""

    def bypassed(self, reason: Reason) -> None:
        """See :class:`OrchestratorCounters`."""

    def terminal(self) -> None:
        """See :class:`OrchestratorCounters`."""
