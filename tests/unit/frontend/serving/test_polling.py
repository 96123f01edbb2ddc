import asyncio
from collections.abc import Mapping
from typing import Any

from epp.core.endpoints import Endpoint, PoolSnapshot
from frontend.http.api import Failure, Sink, UpstreamError, UpstreamRequest, UpstreamResponse
from frontend.serving.catalogue import Known, ModelCatalogue
from frontend.serving.polling import ModelPoller


class Response:
    def __init__(self, status: int, body: bytes) -> None:
        self.status = status
        self.headers: Mapping[str, str] = {}
        self._body = body

    async def read(self, max_bytes: int) -> bytes:
        assert len(self._body) <= max_bytes
        return self._body

    async def pipe(self, sink: Sink) -> None:
        raise AssertionError(sink)

    def close(self) -> None:
        pass


class Workers:
    """An upstream of scripted pages; ``None``: no connection."""

    def __init__(self, **pages: Any) -> None:
        self.pages: dict[str, tuple[int, bytes] | None] = pages
        self.asked: list[str] = []
        self.gate: asyncio.Event | None = None

    async def send(self, request: UpstreamRequest) -> UpstreamResponse:
        name = "w" + request.host_port.rpartition(":")[2]
        self.asked.append(name)
        if self.gate is not None:
            await self.gate.wait()
        page = self.pages[name]
        if page is None:
            raise UpstreamError(Failure.CONNECT, "nobody there")
        return Response(*page)


class Stage:
    def __init__(self, workers: Workers, *numbers: int) -> None:
        self.now_s = 0.0
        self.workers = workers
        self.snapshot = PoolSnapshot.of(Endpoint(f"w{n}", "10.0.0.1", n, n) for n in numbers)
        self.catalogue = ModelCatalogue((), lambda: self.snapshot, lambda _: False, started=0)
        self.poller = ModelPoller(workers, self.catalogue, lambda: self.snapshot, clock=lambda: self.now_s)

    async def poll(self) -> list[str]:
        """Ask whoever is due; who was asked."""
        self.workers.asked.clear()
        await self.poller._ask(self.poller._due(self.now_s))
        return sorted(self.workers.asked)


def page(*models: str) -> tuple[int, bytes]:
    return 200, b'{"data":[%b]}' % ",".join(f'{{"id":"{model}"}}' for model in models).encode()


async def test_newcomers_at_once_the_others_rarely_the_silent_soon() -> None:
    stage = Stage(Workers(w1=page("m"), w2=None, w3=(500, b""), w4=(200, b"?")), 1, 2, 3, 4)
    assert await stage.poll() == ["w1", "w2", "w3", "w4"]
    assert stage.catalogue.known("m") is Known.YES
    assert stage.poller.failures == 3
    assert set(stage.catalogue.problems()) == {"10.0.0.1:2", "10.0.0.1:3", "10.0.0.1:4"}
    stage.now_s = 1.0
    assert await stage.poll() == []
    stage.now_s = 2.5
    assert await stage.poll() == ["w2", "w3", "w4"]
    stage.now_s = 61.0
    assert await stage.poll() == ["w1", "w2", "w3", "w4"]


async def test_a_refresh_is_shared_and_rare() -> None:
    stage = Stage(Workers(w1=page("m")), 1)
    await asyncio.gather(*(stage.poller.refresh() for _ in range(5)))
    assert stage.workers.asked == ["w1"]
    await stage.poller.refresh()
    assert stage.workers.asked == ["w1"]
    stage.now_s = 2.0
    await stage.poller.refresh()
    assert stage.workers.asked == ["w1", "w1"]


async def test_a_refresh_has_a_deadline() -> None:
    stage = Stage(Workers(w1=page("m")), 1)
    stage.workers.gate = asyncio.Event()
    await stage.poller.refresh(deadline_s=0.0)
    assert stage.catalogue.known("m") is Known.UNSURE
    await stage.poller.close()
