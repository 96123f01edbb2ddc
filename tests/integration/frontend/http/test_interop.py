"""Other people's clients against the server, over TCP and TLS."""

import asyncio
import contextlib
import http.client
import json
import os
import shutil
import ssl
from pathlib import Path

import httpx
import pytest

from epp.extproc.aio.tls import self_signed
from frontend.http.api import Reply, Request, whole
from frontend.http.limits import ServerLimits
from frontend.http.server import HttpServer
from frontend.http.tls import server_context

from .conftest import DEADLINE_S, echo, exchange, serving


@pytest.fixture
def curl() -> str:
    found = shutil.which("curl")
    if found is None:
        (pytest.fail if os.environ.get("EPP_REQUIRE_ALL") else pytest.skip)("curl is not installed")
    return found


async def told(*argv: str) -> bytes:
    process = await asyncio.create_subprocess_exec(*argv, stdout=asyncio.subprocess.PIPE)
    async with asyncio.timeout(DEADLINE_S):
        output, _ = await process.communicate()
    assert process.returncode == 0
    return output


@pytest.mark.parametrize("protocol", ["--http1.1", "--http2"])
@pytest.mark.parametrize(
    ("options", "answer"),
    [
        (["-d", "abc"], b"POST /x?y 1 abc"),
        (["-T", "-"], b"PUT /x?y 1 "),
        (["-H", "expect: 100-continue", "-d", "abc"], b"POST /x?y 1 abc"),
        (["-H", "transfer-encoding: chunked", "-d", "abc"], b"POST /x?y 1 abc"),
    ],
)
async def test_curl(curl: str, protocol: str, options: list[str], answer: bytes) -> None:
    async with serving(echo) as (_, port):
        url = f"http://127.0.0.1:{port}"
        command = [curl, "-sS", "-m", "10", protocol, "-H", "x-a: 1", *options, f"{url}/x?y"]
        process = await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE
        )
        output, _ = await process.communicate()
        assert output == answer


@pytest.mark.parametrize("protocol", ["--http1.0", "--http1.1"])
async def test_curl_reads_streams_and_heads_of_both_versions(curl: str, protocol: str) -> None:
    async with serving(echo) as (_, port):
        url = f"http://127.0.0.1:{port}/stream"
        assert await told(curl, "-sSN", "-m", "10", protocol, url) == b"data: 0\n\ndata: 1\n\ndata: 2\n\n"
        assert (
            await told(curl, "-sS", "-m", "10", protocol, "-d", "abc", f"http://127.0.0.1:{port}/")
            == b"POST /? None abc"
        )
        heads = await told(curl, "-sSI", "-m", "10", protocol, url, url)
        assert heads.count(b"HTTP/1.1 200 OK\r\n") == 2


async def test_the_standard_library() -> None:
    def talk(port: int) -> list[bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE_S)
        answers = []
        for method, path, body in (("POST", "/a", b"abc"), ("GET", "/stream", None), ("HEAD", "/a", None)):
            connection.request(method, path, body)
            answers.append(connection.getresponse().read())
        connection.request("PUT", "/c", iter([b"a", b"bc"]))
        answers.append(connection.getresponse().read())
        connection.close()
        return answers

    async with serving(echo) as (_, port):
        post, stream, head, put = await asyncio.to_thread(talk, port)
    assert (post, head, put) == (b"POST /a? None abc", b"", b"PUT /c? None abc")
    assert stream.count(b"data: ") == 3


async def json_echo(request: Request, reply: Reply) -> None:
    whole(reply, 200, (("content-type", "application/json"),), json.dumps({"n": len(request.body)}).encode())


async def test_httpx() -> None:
    async with serving(json_echo) as (server, port), httpx.AsyncClient(timeout=DEADLINE_S) as client:
        url = f"http://127.0.0.1:{port}/"
        answers = await asyncio.gather(*(client.post(url, content=b"x" * n * 10_000) for n in range(20)))
        assert [answer.json()["n"] for answer in answers] == [n * 10_000 for n in range(20)]
        assert server.connections <= 20


async def test_tls(tmp_path: Path) -> None:
    pair = self_signed()
    certificate, key = tmp_path / "tls.crt", tmp_path / "tls.key"
    certificate.write_bytes(pair.chain)
    key.write_bytes(pair.key)
    server = HttpServer(echo)
    port = await server.start("127.0.0.1", 0, ssl_context=server_context(certificate, key))
    trusting = ssl.create_default_context(cafile=certificate)
    async with httpx.AsyncClient(verify=trusting, timeout=DEADLINE_S) as client:
        for path in ("/x", "/stream"):
            answer = await client.post(f"https://localhost:{port}{path}", content=b"y" * 200_000)
            assert len(answer.content) > 20
        assert (await client.get(f"https://localhost:{port}/x", headers={"expect": "x"})).status_code == 417
    await server.drain(1)


async def test_plain_http_to_a_tls_port_and_the_reverse(tmp_path: Path) -> None:
    pair = self_signed()
    for name, content in (("tls.crt", pair.chain), ("tls.key", pair.key)):
        (tmp_path / name).write_bytes(content)
    server = HttpServer(echo)
    port = await server.start(
        "127.0.0.1", 0, ssl_context=server_context(tmp_path / "tls.crt", tmp_path / "tls.key")
    )
    assert b"HTTP/1.1" not in await exchange(port, b"GET / HTTP/1.1\r\nhost: h\r\n\r\n")
    await server.drain(1)
    async with serving(echo) as (_, plain_port):
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await asyncio.open_connection("127.0.0.1", plain_port, ssl=ssl.create_default_context())


async def test_whoever_has_not_shaken_hands_counts(tmp_path: Path) -> None:
    pair = self_signed()
    for name, content in (("tls.crt", pair.chain), ("tls.key", pair.key)):
        (tmp_path / name).write_bytes(content)
    server = HttpServer(echo, ServerLimits(max_connections=1))
    context = server_context(tmp_path / "tls.crt", tmp_path / "tls.key")
    port = await server.start("127.0.0.1", 0, ssl_context=context)
    _, silent = await asyncio.open_connection("127.0.0.1", port)
    async with asyncio.timeout(30):
        while server.connections != 1:
            await asyncio.sleep(0.01)
        reader, surplus = await asyncio.open_connection("127.0.0.1", port)
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b"", "cut without a word"
        for writer in (silent, surplus):
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()
        while server.connections:
            await asyncio.sleep(0.01)
        _, silent = await asyncio.open_connection("127.0.0.1", port)
        while not server.connections:
            await asyncio.sleep(0.01)
        await server.drain(30)
        while server.connections:
            await asyncio.sleep(0.01)
    silent.close()
