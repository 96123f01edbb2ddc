"""What the subscriber hands events to, and what it tells of its own work."""

from collections.abc import Sequence
from typing import Protocol

from epp.core.endpoints import WorkerRank
from epp.core.router import ApplyReport, KvEvent


class EventSink(Protocol):
    """Keeps the views of what ranks hold; called on the event loop."""

    def apply_payload(self, target: WorkerRank, payload: bytes, now_s: float) -> ApplyReport:
        """Apply one engine message (see ``epp.wire.kvevents``)."""
        ...

    def apply(self, target: WorkerRank, events: Sequence[KvEvent], now_s: float) -> ApplyReport:
        """Apply events that came in another form."""
        ...

    def drop_blocks(self, target: WorkerRank) -> int:
        """Forget all blocks of a rank; returns how many."""
        ...


class EventMetrics(Protocol):
    """Counts what the event streams do."""

    def applied(self, target: WorkerRank, report: ApplyReport, *, replayed: bool) -> None:
        """A message was applied."""
        ...

    def malformed(self, target: WorkerRank, message: str) -> None:
        """A message without the expected envelope was left out."""
        ...

    def replay_asked(self, target: WorkerRank, *, gap: bool) -> None:
        """A replay began, to close a gap or to fill a new view."""
        ...

    def replay_ended(self, target: WorkerRank, *, filled: bool) -> None:
        """The replay came to its end, or was given up."""
        ...

    def dropped(self, target: WorkerRank, reason: str, blocks: int) -> None:
        """A view that cannot be trusted was dropped (``DropReason``, ``readdressed``, ``lost``)."""
        ...

    def connected(self, target: WorkerRank, *, up: bool) -> None:
        """The live connection came up or went down."""
        ...

    def silent(self, target: WorkerRank, *, silent: bool) -> None:
        """The rank was sent prompts and publishes nothing; or it does again."""
        ...

    def refused(self, target: WorkerRank, reason: str) -> None:
        """The rank's events are not read: ``address`` (no usable one) or ``capacity`` (too many ranks)."""
        ...

    def forgotten(self, target: WorkerRank) -> None:
        """The rank left the pool; its series can go."""
        ...


class NullEventMetrics:
    """Counts nothing."""

    def applied(self, target: WorkerRank, report: ApplyReport, *, replayed: bool) -> None:
        """See EventMetrics."""

    def malformed(self, target: WorkerRank, message: str) -> None:
        """See EventMetrics."""

    def replay_asked(self, target: WorkerRank, *, gap: bool) -> None:
        """See EventMetrics."""

    def replay_ended(self, target: WorkerRank, *, filled: bool) -> None:
        """See EventMetrics."""

    def dropped(self, target: WorkerRank, reason: str, blocks: int) -> None:
        """See EventMetrics."""

    def connected(self, target: WorkerRank, *, up: bool) -> None:
        """See EventMetrics."""

    def silent(self, target: WorkerRank, *, silent: bool) -> None:
        """See EventMetrics."""

    def refused(self, target: WorkerRank, reason: str) -> None:
        """See EventMetrics."""

    def forgotten(self, target: WorkerRank) -> None:
        """See EventMetrics."""
