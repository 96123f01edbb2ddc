"""What a server may send that is not an ordinary answer: a scripted one, for the real one behaves."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from pathlib import Path

import pytest

from epp.discovery.kubernetes import client as module
from epp.discovery.kubernetes import find_access
from epp.discovery.kubernetes.client import ApiClient, RefusedError
from epp.net.http import FetchError, FetchFailure

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


@asynccontextmanager
async def answering(folder: Path, *pieces: bytes, keep_open: bool = False) -> AsyncIterator[ApiClient]:
    """A client of a server that says this to everybody."""
    asked: list[bytes] = []
    conversations: set[asyncio.Task[None] | None] = set()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        conversations.add(asyncio.current_task())
        try:
            with suppress(ConnectionError):  # a client that does not read to the end
                asked.append(await reader.readuntil(b"\r\n\r\n"))
                for piece in pieces:
                    writer.write(piece)
                    await writer.drain()
                if keep_open:
                    await reader.read()
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        config = folder / "config"
        config.write_text(
            "{current-context: c, contexts: [{name: c, context: {cluster: k, user: u}}],"
            f" clusters: [{{name: k, cluster: {{server: 'http://127.0.0.1:{port}/proxy/'}}}}],"
            " users: [{name: u, user: {token: t}}]}"
        )
        yield ApiClient(find_access({"KUBECONFIG": str(config)}))
        await asyncio.gather(*filter(None, conversations))
    assert all(head.startswith(b"GET /proxy/x HTTP/1.1\r\n") for head in asked)
    assert all(b"\r\nAuthorization: Bearer t\r\n" in head for head in asked)


async def lines(client: ApiClient, idle_s: float = 60.0) -> list[bytes]:
    read: list[bytes] = []
    async with aclosing(client.lines("/x", idle_s)) as batches:
        async for batch in batches:
            read += batch
    return read


async def test_retry_after(tmp_path: Path) -> None:
    body = b'{"kind":"Status","message":"too many"}'
    head = b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 7\r\nContent-Length: %d\r\n\r\n" % len(body)
    async with answering(tmp_path, head + body) as client:
        with pytest.raises(RefusedError, match="too many") as refusal:
            await client.get("/x", 60)
    assert (refusal.value.status, refusal.value.retry_after_s) == (429, 7.0)


async def test_a_refusal_by_something_else_than_the_api(tmp_path: Path) -> None:
    async with answering(tmp_path, b"HTTP/1.1 503 No\r\nContent-Length: 4\r\n\r\nbusy") as client:
        with pytest.raises(RefusedError, match="status 503"):
            await lines(client)


async def test_lines_in_any_pieces(tmp_path: Path) -> None:
    whole = CHUNKED + b"".join(
        b"%x\r\n%b\r\n" % (len(part), part) for part in (b"one\ntw", b"o\n\n", b"three\n")
    )
    end = b"0\r\n\r\n"
    async with answering(tmp_path, *(bytes([byte]) for byte in whole + end)) as client:
        assert await lines(client) == [b"one", b"two", b"three"]
    async with answering(tmp_path, whole + end) as client:
        assert await lines(client) == [b"one", b"two", b"three"]


async def test_silence_ends_a_watch(tmp_path: Path) -> None:
    async with answering(tmp_path, CHUNKED + b"4\r\none\n\r\n", keep_open=True) as client:
        assert await lines(client, idle_s=1.0) == [b"one"]


async def test_a_break_in_the_middle(tmp_path: Path) -> None:
    async with answering(tmp_path, CHUNKED + b"4\r\none\n\r\n") as client:
        with pytest.raises(FetchError, match="closed by the peer"):
            await lines(client)


async def test_no_answer_in_time(tmp_path: Path) -> None:
    async with answering(tmp_path, keep_open=True) as client:
        with pytest.raises(FetchError) as error:
            await client.get("/x", 1.0)
    assert error.value.failure is FetchFailure.TIMEOUT


async def test_what_is_not_http(tmp_path: Path) -> None:
    async with answering(tmp_path, b"SSH-2.0-OpenSSH\r\n\r\n") as client:
        with pytest.raises(FetchError) as error:
            await client.get("/x", 60)
    assert error.value.failure is FetchFailure.PROTOCOL


async def test_a_line_and_a_page_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_LINE_BYTES", 100)
    monkeypatch.setattr(module, "MAX_PAGE_BYTES", 100)
    endless = OK + b"Content-Length: 1000\r\n\r\n" + b"x" * 1000
    async with answering(tmp_path, endless) as client:
        for read in (lines(client), client.get("/x", 60)):
            with pytest.raises(FetchError) as error:
                await read
            assert error.value.failure is FetchFailure.TOO_LARGE


async def test_nobody_there(tmp_path: Path) -> None:
    async with answering(tmp_path) as client:
        pass
    with pytest.raises(FetchError) as error:
        await client.get("/x", 60)
    assert error.value.failure is FetchFailure.CONNECT
