"""The HTTP client against servers good and bad."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from epp.extproc.aio.tls import self_signed
from epp.net.http import FetchError, FetchFailure, HttpClient
from epp.wire.urls import Url

from .conftest import PAGE, PageServer, sized

DEADLINE_S = 60.0


@pytest.fixture
async def client(server: PageServer) -> AsyncIterator[HttpClient]:
    one = HttpClient(Url("127.0.0.1", server.port, "/metrics?a=b", tls=False), max_body_bytes=100_000)
    yield one
    one.close()


async def test_one_connection_carries_all_requests(server: PageServer, client: HttpClient) -> None:
    for _ in range(3):
        assert (await client.fetch("GET", DEADLINE_S)).body == PAGE
    assert server.connections == 1
    assert server.requests[0].startswith(b"GET /metrics?a=b HTTP/1.1\r\nHost: 127.0.0.1:")


async def test_chunked_and_slow_answers(server: PageServer, client: HttpClient) -> None:
    async def drip(writer: asyncio.StreamWriter) -> None:
        data = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nmetr\r\n3\r\nics\r\n0\r\n\r\n"
        for byte in data:
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0)

    server.answer = drip
    for _ in range(2):
        assert (await client.fetch("GET", DEADLINE_S)).body == b"metrics"
    assert server.connections == 1


async def test_a_server_that_closes_after_each_answer(server: PageServer, client: HttpClient) -> None:
    server.send(sized(PAGE, close=True), close=True)
    for _ in range(3):
        assert (await client.fetch("GET", DEADLINE_S)).status == 200
    assert server.connections == 3


async def test_a_body_that_ends_with_the_connection(server: PageServer, client: HttpClient) -> None:
    server.send(b"HTTP/1.0 200 OK\r\n\r\n" + PAGE, close=True)
    assert (await client.fetch("GET", DEADLINE_S)).body == PAGE


async def test_an_idle_connection_closed_by_the_server_is_replaced(
    server: PageServer, client: HttpClient
) -> None:
    await client.fetch("GET", DEADLINE_S)
    await server.stop()
    await server.start()
    assert (await client.fetch("GET", DEADLINE_S)).body == PAGE


async def test_an_error_status_is_an_answer(server: PageServer, client: HttpClient) -> None:
    server.send(sized(b"oops", "500 Internal Server Error"))
    assert (await client.fetch("GET", DEADLINE_S)).status == 500


async def fails(client: HttpClient, timeout_s: float = DEADLINE_S) -> FetchFailure:
    with pytest.raises(FetchError) as caught:
        await client.fetch("GET", timeout_s)
    return caught.value.failure


async def test_no_answer_in_time(server: PageServer, client: HttpClient) -> None:
    server.send(b"")
    assert await fails(client, 0.05) is FetchFailure.TIMEOUT
    server.answer = server.page
    assert (await client.fetch("GET", DEADLINE_S)).body == PAGE


async def test_a_page_beyond_the_bound(server: PageServer, client: HttpClient) -> None:
    server.send(sized(b"x" * 100_001))
    assert await fails(client) is FetchFailure.TOO_LARGE


async def test_no_http_at_all(server: PageServer, client: HttpClient) -> None:
    server.send(b"SSH-2.0-OpenSSH_9.2\r\n\r\n\r\n")
    assert await fails(client) is FetchFailure.PROTOCOL


async def test_closed_without_a_word_and_in_the_middle(server: PageServer, client: HttpClient) -> None:
    server.send(b"", close=True)
    assert await fails(client) is FetchFailure.CONNECT
    server.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", close=True)
    assert await fails(client) is FetchFailure.PROTOCOL


async def test_nobody_there(server: PageServer, client: HttpClient) -> None:
    await server.stop()
    assert await fails(client) is FetchFailure.CONNECT
    await server.start()


async def test_https_is_verified(tmp_path: Path) -> None:
    pair = self_signed()
    (tmp_path / "pem").write_bytes(pair.key + pair.chain)
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(tmp_path / "pem")
    server = PageServer()
    await server.start(tls=serving)
    trusting = ssl.create_default_context(cadata=pair.chain.decode())
    try:
        url = Url("127.0.0.1", server.port, "/metrics", tls=True)
        trusted = HttpClient(url, max_body_bytes=100_000, tls=trusting)
        for _ in range(2):
            assert (await trusted.fetch("GET", DEADLINE_S)).body == PAGE
        assert server.connections == 1
        trusted.close()
        assert await fails(HttpClient(url, max_body_bytes=100_000)) is FetchFailure.CONNECT
    finally:
        await server.close()


async def test_ipv6() -> None:
    server = PageServer()
    try:
        await server.start("::1")
    except OSError:
        pytest.skip("no IPv6 loopback")
    client = HttpClient(Url("::1", server.port, "/", tls=False), max_body_bytes=100_000)
    assert (await client.fetch("GET", DEADLINE_S)).body == PAGE
    assert b"\r\nHost: [::1]:" in server.requests[0]
    client.close()
    await server.close()
