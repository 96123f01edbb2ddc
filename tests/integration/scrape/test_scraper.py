"""The scraper against real pages."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from epp.config.model import ScrapeConfig
from epp.core.endpoints import Endpoint, PoolSnapshot, WorkerRank
from epp.core.router import LoadSample
from epp.scrape.scraper import Scraper
from epp.wire.enginemetrics import WorkerFacts

from .conftest import PAGE, PageServer, sized

DEADLINE_S = 60.0
CONFIG = ScrapeConfig(interval_s=0.01, timeout_s=60.0, stale_after_s=60.0)
TARGET = WorkerRank(1, 0)


async def eventually(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not condition():
            await asyncio.sleep(0.005)


class Sink:
    def __init__(self) -> None:
        self.loads: dict[WorkerRank, LoadSample] = {}
        self.samples = 0
        self.facts: list[tuple[int, WorkerFacts]] = []

    def update_load(self, target: WorkerRank, load: LoadSample, now_s: float) -> None:
        self.loads[target] = load
        self.samples += 1

    def worker_facts(self, worker_id: int, facts: WorkerFacts) -> None:
        self.facts.append((worker_id, facts))


class Metrics:
    def __init__(self) -> None:
        self.bytes = 0
        self.failures: list[str] = []
        self.gone: list[str] = []

    def page_read(self, endpoint: Endpoint, body_bytes: int, took_s: float) -> None:
        self.bytes += body_bytes

    def failed(self, endpoint: Endpoint, reason: str) -> None:
        self.failures.append(reason)

    def forgotten(self, endpoint: Endpoint) -> None:
        self.gone.append(endpoint.name)


class Scraping:
    def __init__(self, config: ScrapeConfig = CONFIG) -> None:
        self.sink = Sink()
        self.metrics = Metrics()
        self.scraper = Scraper(config, self.sink, self.metrics)

    @asynccontextmanager
    async def of(self, *endpoints: Endpoint) -> AsyncIterator["Scraping"]:
        self.scraper.follow(PoolSnapshot.of(endpoints))
        running = asyncio.create_task(self.scraper.run())
        try:
            yield self
            assert not running.done()
        finally:
            running.cancel()
            await asyncio.wait([running])


def worker(server: PageServer, worker_id: int = 1) -> Endpoint:
    return Endpoint(name=f"w{worker_id}", address="127.0.0.1", port=server.port, worker_id=worker_id)


async def test_load_and_facts_arrive_over_one_connection(server: PageServer) -> None:
    scraping = Scraping()
    assert scraping.scraper.age_s(1, 0.0) is None
    async with scraping.of(worker(server)):
        await eventually(lambda: scraping.sink.samples >= 3)
        assert scraping.scraper.fresh(1, asyncio.get_running_loop().time())
        assert not scraping.scraper.fresh(1, asyncio.get_running_loop().time() + 61.0)
        assert not scraping.scraper.fresh(2, 0.0)
    assert scraping.sink.loads == {TARGET: LoadSample(7, 3, 0.5)}
    assert scraping.sink.facts == [(1, WorkerFacts(block_tokens=16, total_blocks=100))]
    assert server.connections == 1
    assert scraping.metrics.bytes >= 3 * len(PAGE)


async def test_changed_facts_are_told_again(server: PageServer) -> None:
    scraping = Scraping()
    async with scraping.of(worker(server)):
        await eventually(lambda: len(scraping.sink.facts) == 1)
        server.send(sized(PAGE.replace(b'"16"', b'"32"')))
        await eventually(lambda: len(scraping.sink.facts) == 2)
    assert scraping.sink.facts[1][1].block_tokens == 32


@pytest.mark.parametrize(
    ("data", "close", "reason"),
    [
        (sized(b"", "500 Internal Server Error"), False, "status"),
        (sized(b"# another server's page\n"), False, "no-figures"),
        (b"nonsense\r\n\r\n", False, "protocol"),
        (b"", True, "connect"),
    ],
)
async def test_a_bad_page_is_counted_and_a_good_one_read_again(
    data: bytes, close: bool, reason: str, server: PageServer
) -> None:
    server.send(data, close=close)
    scraping = Scraping()
    async with scraping.of(worker(server)):
        await eventually(lambda: bool(scraping.metrics.failures))
        assert scraping.sink.samples == 0
        server.answer = server.page
        await eventually(lambda: scraping.sink.samples > 0)
    assert set(scraping.metrics.failures) == {reason}


async def test_a_slow_worker_does_not_slow_the_others(server: PageServer) -> None:
    slow = PageServer()
    slow.send(b"")
    await slow.start()
    try:
        scraping = Scraping()
        async with scraping.of(worker(slow, 1), worker(server, 2)):
            await eventually(lambda: bool(slow.requests) and scraping.sink.samples >= 5)
        assert scraping.sink.loads.keys() == {WorkerRank(2, 0)}
    finally:
        await slow.close()


async def test_the_pool_is_followed(server: PageServer) -> None:
    other = PageServer()
    await other.start()
    try:
        scraping = Scraping()
        first = worker(server)
        async with scraping.of(first):
            await eventually(lambda: scraping.sink.samples > 0)
            moved = replace(first, metrics=f"http://127.0.0.1:{other.port}/elsewhere")
            scraping.scraper.follow(PoolSnapshot.of([moved]))
            await eventually(lambda: bool(other.requests))
            scraping.scraper.follow(PoolSnapshot.of([]))
            assert scraping.metrics.gone == ["w1"]
        assert other.requests[0].startswith(b"GET /elsewhere ")
    finally:
        await other.close()


async def test_an_unusable_url_is_reported_and_the_others_are_read(server: PageServer) -> None:
    scraping = Scraping()
    bad = replace(worker(server, 2), port=1, metrics="gopher://x/")
    async with scraping.of(bad, worker(server)):
        await eventually(lambda: scraping.sink.samples > 0)
    assert scraping.metrics.failures == ["url"]
