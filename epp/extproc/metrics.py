"""What the door counts; the telemetry package gives it a place to go."""

from typing import Protocol


class DoorMetrics(Protocol):
    """Facts of the door, one call each; calls never raise and never block."""

    def stream_opened(self) -> None:
        """A gateway opened a stream."""
        ...

    def stream_closed(self) -> None:
        """A stream ended, however it did; opened minus closed is what is open now."""
        ...

    def request_finished(self, ending: str) -> None:
        """A steered request ended; ``ending`` is an :class:`~epp.core.outcomes.Ending`."""
        ...

    def model_restored(self, outcome: str) -> None:
        """The answer to a request that was given another model ended; ``outcome`` is a
        :class:`~epp.core.restoring.Restored`."""
        ...

    def immediate_response(self, status: int, reason: str) -> None:
        """The client was answered here; ``reason`` is a :class:`~epp.core.outcomes.DropReason`."""
        ...

    def protocol_error(self, kind: str) -> None:
        """A gateway broke the protocol: ``out-of-order``, ``unreadable`` or ``transport``."""
        ...

    def served_elsewhere(self) -> None:
        """The gateway reported another endpoint than the one picked."""
        ...

    def pick_failed(self) -> None:
        """The engine raised: a defect of ours."""
        ...


class NullMetrics:
    """Counts nothing."""

    def stream_opened(self) -> None:
        """Nothing."""

    def stream_closed(self) -> None:
        """Nothing."""

    def request_finished(self, ending: str) -> None:
        """Nothing."""

    def model_restored(self, outcome: str) -> None:
        """Nothing."""

    def immediate_response(self, status: int, reason: str) -> None:
        """Nothing."""

    def protocol_error(self, kind: str) -> None:
        """Nothing."""

    def served_elsewhere(self) -> None:
        """Nothing."""

    def pick_failed(self) -> None:
        """Nothing."""
