"""The facts of the KV event streams as metrics, summed over ranks."""

from epp.core.endpoints import WorkerRank
from epp.core.router import ApplyReport
from epp.telemetry.catalog import Catalog


class EventCounters:
    """Satisfies the subscriber's ``EventMetrics``."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._stored = catalog.events_total.labels("ok", "stored")
        self._removed = catalog.events_total.labels("ok", "removed")
        self._cleared = catalog.events_total.labels("ok", "cleared")
        self._silent: set[WorkerRank] = set()
        self._up: set[WorkerRank] = set()

    def applied(self, target: WorkerRank, report: ApplyReport, *, replayed: bool) -> None:  # noqa: ARG002 -- summed over ranks
        """A message was applied."""
        self._catalog.event_messages_total.labels("replayed" if replayed else "live").inc()
        self._stored.inc(report.stored_blocks)
        self._removed.inc(report.removed_blocks)
        self._cleared.inc(report.cleared)
        for reason, count in report.ignored:
            self._catalog.events_total.labels("ignored", reason).inc(count)

    def malformed(self, target: WorkerRank, message: str) -> None:  # noqa: ARG002 -- summed over ranks
        """A message without the expected envelope was left out."""
        self._catalog.event_malformed_total.inc()

    def replay_asked(self, target: WorkerRank, *, gap: bool) -> None:  # noqa: ARG002 -- summed over ranks
        """A replay began."""
        self._catalog.event_replays_total.labels("gap" if gap else "start", "asked").inc()

    def replay_ended(self, target: WorkerRank, *, filled: bool) -> None:  # noqa: ARG002 -- summed over ranks
        """The replay came to its end, or was given up."""
        self._catalog.event_replays_total.labels("any", "filled" if filled else "given-up").inc()

    def dropped(self, target: WorkerRank, reason: str, blocks: int) -> None:  # noqa: ARG002 -- summed over ranks
        """A view that cannot be trusted was dropped."""
        self._catalog.event_views_dropped_total.labels(reason).inc()
        self._catalog.event_blocks_dropped_total.inc(blocks)

    def connected(self, target: WorkerRank, *, up: bool) -> None:
        """The live connection came up or went down."""
        (self._up.add if up else self._up.discard)(target)
        self._catalog.event_connected.set(len(self._up))

    def silent(self, target: WorkerRank, *, silent: bool) -> None:
        """The rank was sent prompts and publishes nothing; or it does again."""
        (self._silent.add if silent else self._silent.discard)(target)
        self._catalog.event_silent.set(len(self._silent))

    def refused(self, target: WorkerRank, reason: str) -> None:  # noqa: ARG002 -- summed over ranks
        """The rank's events are not read."""
        self._catalog.event_refused_total.labels(reason).inc()

    def forgotten(self, target: WorkerRank) -> None:
        """The rank left the pool."""
        self.connected(target, up=False)
        self.silent(target, silent=False)
