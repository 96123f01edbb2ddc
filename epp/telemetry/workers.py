"""The facts of discovery, scrape and background parts as metrics."""

from epp.core.endpoints import Endpoint
from epp.telemetry.catalog import Catalog


class DiscoveryCounters:
    """Satisfies discovery's ``DiscoveryMetrics``."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def published(self, endpoints: int) -> None:  # noqa: ARG002 -- the number is a gauge of the pool itself
        """A new set of endpoints."""
        self._catalog.discovery_updates_total.labels("published").inc()

    def failed(self, reason: str) -> None:
        """The source could not be used."""
        self._catalog.discovery_updates_total.labels(reason).inc()


class ScrapeCounters:
    """Satisfies the scraper's ``ScrapeMetrics``; counted over all workers, for their number has no bound."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def page_read(self, endpoint: Endpoint, body_bytes: int, took_s: float) -> None:  # noqa: ARG002 -- see the class
        """A page was read."""
        self._catalog.scrapes_total.inc()
        self._catalog.scrape_page_bytes_total.inc(body_bytes)

    def failed(self, endpoint: Endpoint, reason: str) -> None:  # noqa: ARG002 -- see the class
        """A page was not read."""
        self._catalog.scrape_errors_total.labels(reason).inc()

    def forgotten(self, endpoint: Endpoint) -> None:
        """No series is kept per endpoint, so there is nothing to forget."""
