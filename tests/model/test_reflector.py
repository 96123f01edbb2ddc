"""Whatever the API server does in between, the picture becomes what it has.

The server is a model: versions, a history that can be forgotten, pages, watches that break, end or are
refused, a store that was put back.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import suppress
from urllib.parse import parse_qs, urlsplit

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from epp.discovery.kubernetes.client import RefusedError
from epp.discovery.kubernetes.listing import Listing
from epp.discovery.kubernetes.reflector import Reflector
from epp.discovery.source import NullDiscoveryMetrics
from epp.net.http import FetchError, FetchFailure
from epp.wire.kubernetes.api import EventKind, Status

PAGE = 2
SETTLED = 20
"""Turns after which a first list and watch are there."""
TURNS = 5000
"""Turns of the loop after which the picture must be right."""


class Server:
    host = "model"

    def __init__(self) -> None:
        self.version = 1
        self.oldest = 1
        self.objects: dict[str, int] = {}
        self.history: list[tuple[int, str, str]] = []
        self.snapshots: dict[int, list[tuple[str, int]]] = {1: []}
        self.refusals = 0
        self.generation = 0
        self.breaks = False

    def change(self, name: str, there: bool) -> None:
        if not there and name not in self.objects:
            return
        self.version += 1
        kind = "DELETED" if not there else "MODIFIED" if name in self.objects else "ADDED"
        if there:
            self.objects[name] = self.version
        else:
            del self.objects[name]
        self.history.append((self.version, kind, name))
        self.snapshots[self.version] = sorted(self.objects.items())

    def forget(self) -> None:
        """Compaction: nothing before now can be watched or paged from."""
        self.oldest = self.version
        self.history.clear()

    def restore(self) -> None:
        """Another store: the same objects, numbered from an earlier version on."""
        self.version = self.oldest = 1
        self.objects = dict.fromkeys(self.objects, 1)
        self.history.clear()
        self.snapshots = {1: sorted(self.objects.items())}
        self.refusals += 1  # nobody restores a store below a server that answers
        self.interrupt(breaks=True)

    def interrupt(self, *, breaks: bool) -> None:
        self.generation += 1
        self.breaks = breaks

    async def get(self, target: str, timeout_s: float) -> bytes:
        await asyncio.sleep(0)
        self._refuse()
        rest = parse_qs(urlsplit(target).query).get("continue", [f"{self.version}.0"])[0]
        version, first = (int(part) for part in rest.split("."))
        if version < self.oldest or version not in self.snapshots:
            raise RefusedError(410, Status("expired"), 0)
        listed = self.snapshots[version]
        items = [_object(name, at) for name, at in listed[first : first + PAGE]]
        meta = {"resourceVersion": str(version)}
        if len(listed) > first + PAGE:
            meta["continue"] = f"{version}.{first + PAGE}"
        return json.dumps({"metadata": meta, "items": items}).encode()

    async def lines(self, target: str, idle_s: float) -> AsyncGenerator[list[bytes], None]:
        await asyncio.sleep(0)
        self._refuse()
        version = int(parse_qs(urlsplit(target).query)["resourceVersion"][0])
        generation = self.generation
        yield []
        while True:
            if generation != self.generation:
                if self.breaks:
                    raise FetchError(FetchFailure.CONNECT, "broken")
                return
            if version < self.oldest:
                yield [_line("ERROR", {"code": 410})]
                return
            news = [entry for entry in self.history if entry[0] > version]
            if news:
                version = news[-1][0]
                yield [_line(kind, _object(name, at)) for at, kind, name in news]
            await asyncio.sleep(0)

    def _refuse(self) -> None:
        if self.refusals:
            self.refusals -= 1
            raise RefusedError(503, Status("busy"), 0)


def _object(name: str, version: int) -> dict[str, object]:
    return {"metadata": {"name": name, "resourceVersion": str(version)}}


def _line(kind: str, data: object) -> bytes:
    return json.dumps({"type": kind, "object": data}).encode()


class Picture:
    def __init__(self) -> None:
        self.objects: dict[str, int] = {}

    async def replace(self, listing: Listing, objects: Sequence[msgspec.Raw]) -> None:
        await asyncio.sleep(0)
        self.objects = dict(map(_read, objects))

    def apply(self, kind: EventKind, data: msgspec.Raw) -> None:
        name, version = _read(data)
        if kind is EventKind.DELETED:
            self.objects.pop(name, None)
        else:
            self.objects[name] = version


def _read(data: msgspec.Raw) -> tuple[str, int]:
    meta = msgspec.json.decode(data)["metadata"]
    return meta["name"], int(meta["resourceVersion"])


steps = st.one_of(
    st.tuples(st.just("change"), st.sampled_from("abcdefg"), st.booleans()),
    st.tuples(st.sampled_from(["break", "end", "forget", "restore", "refuse", "wait"])),
)


async def _follow(script: list[tuple[tuple[object, ...], int]]) -> None:
    server, picture = Server(), Picture()
    reflector = Reflector(
        server, (Listing("/x"),), picture, NullDiscoveryMetrics(), sleep=lambda _: asyncio.sleep(0)
    )
    task = asyncio.create_task(reflector.run())
    try:
        await _turn(SETTLED)
        for (what, *rest), turns in script:
            if what == "change":
                server.change(str(rest[0]), bool(rest[1]))
            elif what in ("break", "end"):
                server.interrupt(breaks=what == "break")
            elif what == "refuse":
                server.refusals += 1
            elif what in ("forget", "restore"):
                getattr(server, str(what))()
            await _turn(turns)
        for _ in range(TURNS):
            if picture.objects == server.objects and reflector.problem is None:
                break
            assert not task.done()
            await asyncio.sleep(0)
        assert picture.objects == server.objects
        assert reflector.problem is None
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _turn(times: int) -> None:
    for _ in range(times):
        await asyncio.sleep(0)


@settings(deadline=None, max_examples=200)
@given(st.lists(st.tuples(steps, st.sampled_from([0, 1, 12])), max_size=30))
def test_the_picture_becomes_what_the_server_has(script: list[tuple[tuple[object, ...], int]]) -> None:
    asyncio.run(_follow(script))
