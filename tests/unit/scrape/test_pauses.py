"""How long the scraper waits between two reads of one worker."""

import pytest

from epp.config.model import ScrapeConfig
from epp.core.endpoints import WorkerRank
from epp.core.router import LoadSample
from epp.scrape.scraper import MAX_PAUSE_S, Scraper
from epp.wire.enginemetrics import WorkerFacts


class Sink:
    def update_load(self, target: WorkerRank, load: LoadSample, now_s: float) -> None: ...

    def worker_facts(self, worker_id: int, facts: WorkerFacts) -> None: ...


@pytest.mark.parametrize(
    ("failures", "pause_s"), [(0, 1.0), (1, 2.0), (2, 4.0), (4, MAX_PAUSE_S), (10_000, MAX_PAUSE_S)]
)
def test_a_failing_worker_is_read_less_often(failures: int, pause_s: float) -> None:
    scraper = Scraper(ScrapeConfig(interval_s=1.0, jitter=0.0), Sink())
    assert scraper._pause_s(failures) == pause_s


def test_a_long_interval_is_never_shortened_by_failures() -> None:
    scraper = Scraper(ScrapeConfig(interval_s=60.0, jitter=0.0), Sink())
    assert scraper._pause_s(3) == 60.0


def test_reads_are_spread_by_the_jitter() -> None:
    scraper = Scraper(ScrapeConfig(interval_s=1.0, jitter=0.1), Sink())
    pauses = [scraper._pause_s(0) for _ in range(200)]
    assert 0.9 <= min(pauses) < max(pauses) <= 1.1
