"""What the scraper hands its findings to, and what it tells of its own work."""

from typing import Protocol

from epp.core.endpoints import Endpoint, WorkerRank
from epp.core.router import LoadSample
from epp.wire.enginemetrics import WorkerFacts


class LoadSink(Protocol):
    """Takes what metrics pages say; called on the event loop."""

    def update_load(self, target: WorkerRank, load: LoadSample, now_s: float) -> None:
        """The load of one rank as of ``now_s`` (monotonic seconds)."""
        ...

    def worker_facts(self, worker_id: int, facts: WorkerFacts) -> None:
        """What a worker's page says besides load; called for the first page and after a change."""
        ...


class ScrapeMetrics(Protocol):
    """Counts the scraper's work."""

    def page_read(self, endpoint: Endpoint, body_bytes: int, took_s: float) -> None:
        """A page was read."""
        ...

    def failed(self, endpoint: Endpoint, reason: str) -> None:
        """A page was not read: a ``FetchFailure``, ``status``, ``no-figures`` or ``url``."""
        ...

    def forgotten(self, endpoint: Endpoint) -> None:
        """The endpoint left the pool; its series can go."""
        ...


class NullScrapeMetrics:
    """Counts nothing."""

    def page_read(self, endpoint: Endpoint, body_bytes: int, took_s: float) -> None:
        """See ScrapeMetrics."""

    def failed(self, endpoint: Endpoint, reason: str) -> None:
        """See ScrapeMetrics."""

    def forgotten(self, endpoint: Endpoint) -> None:
        """See ScrapeMetrics."""
