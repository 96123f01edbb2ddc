"""The metrics port over real sockets, an inspector of scripts behind it."""

import asyncio
import socket
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from epp.admin import server as admin_server
from epp.admin.server import AdminServer


class ScriptedInspector:
    """Notes what it was asked; ``hang`` makes it too busy, ``error`` makes it fail."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.ready = True
        self.hang = False
        self.error: Exception | None = None
        self.hanging = 0

    async def refresh(self) -> None:
        self.asked.append("refresh")

    def metrics_page(self) -> bytes:
        return b"metric 1.0\n"

    async def recent_picks(self, limit: int, request_id: str | None) -> list[dict[str, Any]]:
        self.asked.append((limit, request_id))
        return [{"request_id": request_id}]

    async def explain(self, path: str, headers: dict[str, str], body: bytes) -> dict[str, Any]:
        self.asked.append((path, headers.get("x-tenant-id"), body))
        return {"status": 503, "error": "nobody"}

    async def workers(self) -> dict[str, Any]:
        if self.error is not None:
            raise self.error
        if self.hang:
            self.hanging += 1
            try:
                await asyncio.Event().wait()
            finally:
                self.hanging -= 1
        return {"workers": []}

    async def readiness(self) -> dict[str, Any]:
        return {"ready": self.ready, "parts": {}}


@pytest.fixture
async def inspector() -> ScriptedInspector:
    return ScriptedInspector()


@pytest.fixture
async def client(inspector: ScriptedInspector) -> AsyncIterator[httpx.AsyncClient]:
    server = AdminServer(inspector, "127.0.0.1", 0)
    server.start()
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.port}", timeout=60) as client:
        yield client
    await server.stop()


async def test_pages(client: httpx.AsyncClient, inspector: ScriptedInspector) -> None:
    metrics = await client.get("/metrics")
    assert metrics.text == "metric 1.0\n"
    assert metrics.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert metrics.headers["server"] == "epp"
    assert (await client.get("/debug/picks?n=3&request_id=a%20b")).json() == [{"request_id": "a b"}]
    assert (await client.get("/debug/workers")).json() == {"workers": []}
    assert inspector.asked == ["refresh", (3, "a b")]


@pytest.mark.parametrize(("given", "taken"), [("-1", 20), ("x", 20), ("9" * 5000, 10_000), ("٣", 20)])
async def test_numbers_are_bounded(
    client: httpx.AsyncClient, inspector: ScriptedInspector, given: str, taken: int
) -> None:
    await client.get("/debug/picks", params={"n": given})
    assert inspector.asked == [(taken, None)]


async def test_explain_passes_path_headers_and_body(
    client: httpx.AsyncClient, inspector: ScriptedInspector
) -> None:
    answer = await client.post(
        "/debug/explain?path=/v1/completions", content=b"{}", headers={"X-Tenant-Id": "t"}
    )
    assert (answer.status_code, answer.json()["error"]) == (503, "nobody")
    assert inspector.asked == [("/v1/completions", "t", b"{}")]


async def test_readiness_is_a_status(client: httpx.AsyncClient, inspector: ScriptedInspector) -> None:
    assert (await client.get("/readyz")).status_code == 200
    inspector.ready = False
    assert (await client.get("/readyz")).status_code == 503
    assert (await client.get("/healthz")).status_code == 200


async def test_what_is_not_there(client: httpx.AsyncClient) -> None:
    missing = await client.get("/")
    assert missing.status_code == 404
    assert "/metrics" in missing.json()["pages"]
    assert (await client.post("/metrics", content=b"")).status_code == 404


async def test_a_page_that_fails_is_a_500_and_the_next_one_works(
    client: httpx.AsyncClient, inspector: ScriptedInspector
) -> None:
    inspector.error = ValueError("broken")
    assert (await client.get("/debug/workers")).status_code == 500
    inspector.error = None
    assert (await client.get("/debug/workers")).status_code == 200


async def test_a_loop_too_busy_is_a_503_and_its_question_is_withdrawn(
    client: httpx.AsyncClient, inspector: ScriptedInspector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admin_server, "_ANSWER_TIMEOUT_S", 0.2)
    inspector.hang = True
    assert (await client.get("/debug/workers")).status_code == 503
    async with asyncio.timeout(60):
        while inspector.hanging:
            await asyncio.sleep(0.005)


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"content-length: 999999999999\r\n", b"413"),
        (b"transfer-encoding: chunked\r\n", b"411"),
        (b"content-length: -5\r\n", b"411"),
        (b"content-length: ten\r\n", b"411"),
    ],
)
async def test_bodies_are_bounded(client: httpx.AsyncClient, head: bytes, status: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", client.base_url.port)
    writer.write(b"POST /debug/explain HTTP/1.1\r\nhost: x\r\n" + head + b"\r\n")
    answer = await asyncio.wait_for(reader.read(), 60)
    assert answer.split(b" ")[1] == status
    writer.close()
    await writer.wait_closed()


async def test_a_connection_that_says_nothing_holds_nobody_up(client: httpx.AsyncClient) -> None:
    silent = [socket.create_connection(("127.0.0.1", client.base_url.port or 0)) for _ in range(10)]
    assert (await client.get("/metrics")).status_code == 200
    for connection in silent:
        connection.close()


async def test_a_port_in_use_is_an_oserror(inspector: ScriptedInspector) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OSError, match="in use"):
        AdminServer(inspector, "127.0.0.1", taken.getsockname()[1])


async def test_it_can_be_stopped_without_having_been_started(inspector: ScriptedInspector) -> None:
    await asyncio.wait_for(AdminServer(inspector, "127.0.0.1", 0).stop(), 60)
