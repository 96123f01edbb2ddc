"""Discovery against a real etcd: changes, leases, outages, compaction."""

import asyncio
import contextlib
import json
import shutil
import sys
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path

import pytest

from epp.config.model import EtcdConfig
from epp.discovery import etcd as module
from epp.discovery import etcd_client
from epp.discovery.etcd import EtcdDiscovery
from epp.discovery.etcd_register import MIN_TTL_S, Registrar
from epp.testing.process import ChildProcess
from tests.integration.discovery.conftest import Etcd, eventually
from tests.integration.peers import listening


def entry(name: str, port: int = 8000, **more: object) -> bytes:
    return json.dumps({"name": name, "address": "10.0.0.1", "port": port, **more}).encode()


@contextlib.asynccontextmanager
async def running(source: EtcdDiscovery | Registrar) -> AsyncIterator[None]:
    task = asyncio.create_task(source.run())
    try:
        yield
        assert not task.done()
    finally:
        task.cancel()
        await asyncio.wait([task])


def names(discovery: EtcdDiscovery) -> list[str]:
    return sorted(endpoint.name for endpoint in discovery.snapshot.endpoints)


async def test_what_is_there_and_what_changes(etcd: Etcd) -> None:
    await etcd.put("/t/default/a", entry("a", 1))
    await etcd.put("/other/x", entry("x", 9))
    discovery = EtcdDiscovery(etcd.config())
    async with running(discovery):
        await eventually(lambda: names(discovery) == ["a"])
        assert discovery.problem is None
        await etcd.put("/t/default/b", entry("b", 2, role="prefill"))
        await eventually(lambda: names(discovery) == ["a", "b"])
        await etcd.put("/t/default/a", b"{")
        await eventually(lambda: names(discovery) == ["b"])
        assert "is not JSON" in str(discovery.problem)
        await etcd.delete("/t/default/a")
        await eventually(lambda: discovery.problem is None)


async def test_more_than_a_page(etcd: Etcd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PAGE_KEYS", 3)
    for index in range(8):
        await etcd.put(f"/t/{index}", entry(f"w{index}", 100 + index))
    discovery = EtcdDiscovery(etcd.config())
    async with running(discovery):
        await eventually(lambda: len(discovery.snapshot.endpoints) == 8)


async def test_a_worker_whose_lease_ends_disappears(etcd: Etcd) -> None:
    discovery = EtcdDiscovery(etcd.config())
    async with running(discovery):
        orderly = Registrar(etcd.config(), entry("orderly", 1), MIN_TTL_S)
        async with running(orderly):
            await eventually(lambda: names(discovery) == ["orderly"])
        await eventually(lambda: names(discovery) == [])

        killed = Registrar(etcd.config(), entry("killed", 2), MIN_TTL_S)
        killed._leave = asyncio.Event().wait  # type: ignore[method-assign,assignment]
        task = asyncio.create_task(killed.run())
        await eventually(lambda: names(discovery) == ["killed"])
        task.cancel()
        await eventually(lambda: names(discovery) == [])
        task.cancel()
        await asyncio.wait([task])


async def test_a_killed_etcd_leaves_the_last_set_and_is_followed_again(etcd: Etcd) -> None:
    discovery = EtcdDiscovery(etcd.config())
    worker = Registrar(etcd.config(), entry("leased", 1), 5)
    async with running(discovery), running(worker):
        await etcd.put("/t/kept", entry("kept", 2))
        await eventually(lambda: names(discovery) == ["kept", "leased"])
        await etcd.kill()
        await eventually(lambda: discovery.problem is not None)
        assert names(discovery) == ["kept", "leased"]
        await etcd.start()
        await etcd.put("/t/new", entry("new", 3))
        await eventually(lambda: names(discovery) == ["kept", "leased", "new"] and discovery.problem is None)


async def test_an_etcd_that_forgot_everything(etcd: Etcd) -> None:
    discovery = EtcdDiscovery(etcd.config())
    worker = Registrar(etcd.config(), entry("leased", 1), MIN_TTL_S)
    async with running(discovery), running(worker):
        await etcd.put("/t/gone", entry("gone", 2))
        await eventually(lambda: names(discovery) == ["gone", "leased"])
        await etcd.kill()
        shutil.rmtree(etcd.folder / "data")
        await etcd.start()
        await eventually(lambda: names(discovery) == ["leased"])


async def test_a_silent_watch_is_opened_anew_where_it_ended(
    etcd: Etcd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RESOLVE_AGAIN_S", 0.25)
    lists: list[None] = []
    watches: list[None] = []
    discovery = EtcdDiscovery(etcd.config())
    listed, watched = discovery._list, discovery._client.lines

    async def list_and_count() -> None:
        lists.append(None)
        await listed()

    def watch_and_count(path: str, body: bytes, idle_s: float) -> AsyncGenerator[bytes, None]:
        watches.append(None)
        return watched(path, body, idle_s)

    monkeypatch.setattr(discovery, "_list", list_and_count)
    monkeypatch.setattr(discovery._client, "lines", watch_and_count)
    async with running(discovery):
        for index in range(3):
            opened = len(watches)
            await eventually(lambda opened=opened: len(watches) > opened)  # type: ignore[misc]
            await etcd.put(f"/t/{index}", entry(f"w{index}", 100 + index))
        await eventually(lambda: len(discovery.snapshot.endpoints) == 3)
    assert len(lists) == 1


async def test_compacted_revisions_are_listed_again(etcd: Etcd, monkeypatch: pytest.MonkeyPatch) -> None:
    await etcd.put("/t/a", entry("a", 1))
    discovery = EtcdDiscovery(etcd.config())
    await discovery._list()
    await etcd.delete("/t/a")
    last = await etcd.put("/t/b", entry("b", 2))
    await etcd.compact(last)
    assert names(discovery) == ["a"]
    async with running(discovery):
        await eventually(lambda: names(discovery) == ["b"])
        assert discovery.problem is None


async def test_a_member_that_is_gone_is_passed_over(etcd: Etcd, refusing_port: int) -> None:
    await etcd.put("/t/a", entry("a", 1))
    gone = f"http://127.0.0.1:{refusing_port}"
    discovery = EtcdDiscovery(etcd.config(endpoints=(gone, etcd.url)))
    async with running(discovery):
        await eventually(lambda: names(discovery) == ["a"])
        assert discovery.problem is None


async def test_certificates_on_both_sides(secured_etcd: Etcd) -> None:
    await secured_etcd.put("/t/a", entry("a", 1))
    discovery = EtcdDiscovery(secured_etcd.config())
    async with running(discovery):
        await eventually(lambda: names(discovery) == ["a"])
        await secured_etcd.put("/t/b", entry("b", 2))
        await eventually(lambda: names(discovery) == ["a", "b"])
    unknown = EtcdDiscovery(secured_etcd.config(cert_path=None, key_path=None))
    async with running(unknown):
        await eventually(lambda: "not asked" not in str(unknown.problem))
        assert unknown.snapshot.endpoints == ()


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (b"", "closed by the peer"),
        (b"SSH-2.0-x\r\n\r\n", "status line"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno", "no answer of etcd"),
        (b"HTTP/1.1 503 No\r\nContent-Length: 16\r\n\r\n" + b'{"message":"eh"}', "eh"),
    ],
)
async def test_what_listens_and_is_no_etcd(answer: bytes, says: str) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"}")
        writer.write(answer)

    async with listening(serve) as port:
        discovery = EtcdDiscovery(EtcdConfig(endpoints=(f"http://127.0.0.1:{port}",)))
        async with running(discovery):
            await eventually(lambda: says in str(discovery.problem))
            assert discovery.snapshot.endpoints == ()


PAGE = b'{"header": {"revision": "5"}}'
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
LEADERLESS = b'{"error": {"message": "no leader"}}\n'
ENDED = b'{"result": {"canceled": true, "cancel_reason": "permission denied"}}\n'


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (b"", "closed by the peer"),
        (b"SSH-2.0-x\r\n\r\n", "etcd at"),
        (b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n", "status 404"),
        (CHUNKED + chunk(LEADERLESS), "no leader"),
        (CHUNKED + chunk(ENDED[:20]) + chunk(ENDED[20:]), "the watch was ended: permission denied"),
        (CHUNKED + chunk(b"{\n"), "no answer of etcd"),
        (CHUNKED + chunk(b"x" * 300), "a line of more than 200 bytes"),
        (CHUNKED + b"zz\r\n", "etcd at"),
        (b"HTTP/1.1 101 No\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n", "another protocol"),
    ],
)
async def test_a_watch_that_goes_wrong(answer: bytes, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(etcd_client, "_MAX_LINE_BYTES", 200)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked = await reader.readuntil(b"}")
        page = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(PAGE), PAGE)
        writer.write(page if b"/range " in asked else answer)

    async with listening(serve) as port:
        discovery = EtcdDiscovery(EtcdConfig(endpoints=(f"http://127.0.0.1:{port}",)))
        async with running(discovery):
            await eventually(lambda: says in str(discovery.problem))


@pytest.mark.parametrize("revision", [5, 4])
async def test_a_member_that_ends_every_watch_is_not_stormed(
    revision: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the revision that was listed, or as one that lags behind it."""
    monkeypatch.setattr(module, "_FIRST_PAUSE_S", 60.0)
    watches = asyncio.Semaphore(0)
    created = b'{"result": {"header": {"revision": "%d"}, "created": true}}\n' % revision

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked = await reader.readuntil(b"}")
        page = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(PAGE), PAGE)
        watch = CHUNKED + chunk(created) + chunk(b"")
        writer.write(page if b"/range " in asked else watch)
        if b"/watch " in asked:
            watches.release()

    async with listening(serve) as port:
        discovery = EtcdDiscovery(EtcdConfig(endpoints=(f"http://127.0.0.1:{port}",)))
        async with running(discovery):
            await asyncio.wait_for(watches.acquire(), 60)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(watches.acquire(), 0.2)  # without a pause the next comes at once
            assert discovery.problem is None


async def test_epp_register(etcd: Etcd, tmp_path: Path) -> None:
    discovery = EtcdDiscovery(etcd.config())
    place = ["--name=side", "--address=10.0.0.7", "--port=8000", "--entry", '{"engine": "sglang"}']
    argv = [
        sys.executable, "-m", "epp", "register", *place, "--etcd-prefix=/t/", f"--etcd-endpoints={etcd.url}",
    ]  # fmt: skip
    async with running(discovery):
        async with ChildProcess("register", argv, tmp_path / "register.log"):
            await eventually(lambda: names(discovery) == ["side"])
            assert discovery.snapshot.endpoints[0].engine == "sglang"
        await eventually(lambda: names(discovery) == [])
