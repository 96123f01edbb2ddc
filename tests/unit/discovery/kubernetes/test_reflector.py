"""List, watch, resume, expiry, refusals: the API server is a script."""

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import suppress
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest

from epp.discovery.kubernetes.client import RefusedError
from epp.discovery.kubernetes.listing import Listing
from epp.discovery.kubernetes.reflector import LOOK_S, Reflector
from epp.net.http import FetchError, FetchFailure
from epp.wire.kubernetes.api import EventKind, Status

NEW, OLD = Listing("/new"), Listing("/old")


class Script:
    """Answers in order; the last watch never ends."""

    host = "api"

    def __init__(self, *answers: object) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []
        self.over = asyncio.Event()

    async def get(self, target: str, timeout_s: float) -> bytes:
        self.asked.append(target)
        answer = self._next()
        assert isinstance(answer, bytes)
        return answer

    async def lines(self, target: str, idle_s: float) -> AsyncGenerator[list[bytes], None]:
        self.asked.append(target)
        if not self.answers:
            self.over.set()
            yield []
            await asyncio.Event().wait()
        answer = self._next()
        assert isinstance(answer, list)
        yield []
        for step in answer:
            if isinstance(step, Exception):
                raise step
            yield [step]

    def _next(self) -> object:
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def query(self, index: int) -> dict[str, list[str]]:
        return parse_qs(urlsplit(self.asked[index]).query)


class Picture:
    def __init__(self) -> None:
        self.told: list[tuple[str, object]] = []

    async def replace(self, listing: Listing, objects: Sequence[msgspec.Raw]) -> None:
        self.told.append((listing.path, [json.loads(bytes(data)) for data in objects]))

    def apply(self, kind: EventKind, data: msgspec.Raw) -> None:
        self.told.append((kind.value, json.loads(bytes(data))["metadata"].get("name")))


class Counts:
    def __init__(self) -> None:
        self.failures: list[str] = []

    def published(self, endpoints: int) -> None:
        raise AssertionError

    def failed(self, reason: str) -> None:
        self.failures.append(reason)


class Followed:
    def __init__(self, script: Script, *listings: Listing) -> None:
        self.script, self.picture, self.counts = script, Picture(), Counts()
        self.pauses: list[float] = []
        self.now_s = 0.0
        self.reflector = Reflector(
            script, listings or (NEW,), self.picture, self.counts, clock=lambda: self.now_s, sleep=self._sleep
        )
        self.problems: list[str | None] = []

    async def _sleep(self, pause_s: float) -> None:
        self.pauses.append(pause_s)
        self.problems.append(self.reflector.problem)
        await asyncio.sleep(0)

    async def run(self) -> "Followed":
        task = asyncio.create_task(self.reflector.run())
        async with asyncio.timeout(60):
            await self.script.over.wait()
            await asyncio.sleep(0)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        return self


def page(version: str, *names: str, rest: str = "") -> bytes:
    items = [{"metadata": {"name": name}} for name in names]
    return json.dumps({"metadata": {"resourceVersion": version, "continue": rest}, "items": items}).encode()


def event(kind: str, name: str, version: str) -> bytes:
    return json.dumps(
        {"type": kind, "object": {"metadata": {"name": name, "resourceVersion": version}}}
    ).encode()


def error(code: int, message: str = "") -> bytes:
    return json.dumps(
        {"type": "ERROR", "object": {"kind": "Status", "code": code, "message": message}}
    ).encode()


def refused(status: int, message: str = "", retry_after_s: float = 0.0) -> RefusedError:
    return RefusedError(status, Status(message), retry_after_s)


def broken() -> FetchError:
    return FetchError(FetchFailure.CONNECT, "closed by the peer")


async def test_lists_then_watches_from_there_and_resumes_where_the_watch_ended() -> None:
    script = Script(page("5", "a"), [event("ADDED", "b", "6"), event("BOOKMARK", "", "9")])
    followed = await Followed(script).run()
    assert followed.picture.told == [("/new", [{"metadata": {"name": "a"}}]), ("ADDED", "b")]
    assert script.query(1)["resourceVersion"] == ["5"]
    assert script.query(1)["allowWatchBookmarks"] == ["true"]
    assert script.query(2)["resourceVersion"] == ["9"]
    assert followed.counts.failures == []
    assert followed.reflector.problem is None


async def test_pages_are_one_list() -> None:
    script = Script(page("5", "a", rest="t"), page("5", "b"))
    followed = await Followed(script).run()
    assert [len(objects) for _, objects in followed.picture.told] == [2]  # type: ignore[arg-type]
    assert script.query(1)["continue"] == ["t"]


async def test_a_broken_watch_goes_on_where_it_broke() -> None:
    script = Script(page("5"), [event("ADDED", "a", "6"), broken()])
    followed = await Followed(script).run()
    assert len(script.asked) == 3
    assert script.query(2)["resourceVersion"] == ["6"]
    assert followed.counts.failures == ["read"]
    assert "closed by the peer" in (followed.problems[0] or "")
    assert followed.reflector.problem is None


@pytest.mark.parametrize("gone", [[error(410, "too old")], refused(410, "too old")])
async def test_an_expired_watch_is_followed_by_a_list(gone: object) -> None:
    script = Script(page("5", "a"), gone, page("8", "b"))
    followed = await Followed(script).run()
    assert [told for told, _ in followed.picture.told] == ["/new", "/new"]
    assert script.query(3)["resourceVersion"] == ["8"]
    assert followed.counts.failures == []


async def test_an_expired_page_begins_the_list_anew() -> None:
    script = Script(page("5", "a", rest="t"), refused(410), page("8", "b"))
    followed = await Followed(script).run()
    assert followed.picture.told == [("/new", [{"metadata": {"name": "b"}}])]


async def test_a_watch_that_cannot_be_opened_is_followed_by_a_list() -> None:
    script = Script(page("5", "a"), broken(), page("1"))
    followed = await Followed(script).run()
    assert followed.picture.told[-1] == ("/new", [])


async def test_a_refusal_is_told_and_the_picture_stays() -> None:
    script = Script(
        page("5", "a"), [error(500, "etcd\nleader")], refused(403, "pods is forbidden"), page("6", "a")
    )
    followed = await Followed(script).run()
    assert followed.problems[:2] == [
        "the Kubernetes API at api: the watch was ended: etcd leader",
        "the Kubernetes API at api: pods is forbidden",
    ]
    assert len(followed.picture.told) == 2


async def test_a_watch_that_ends_with_an_error_is_followed_by_a_list() -> None:
    """The error may come at that place for ever: an object that cannot be converted, a restored store."""
    script = Script(
        page("5", "a"), [event("MODIFIED", "a", "6"), error(500, "no conversion")], page("7", "b")
    )
    followed = await Followed(script).run()
    assert [told for told, _ in followed.picture.told] == ["/new", "MODIFIED", "/new"]
    assert script.query(-1)["resourceVersion"] == ["7"]


async def test_retry_after_is_kept_to_and_bounded() -> None:
    script = Script(refused(429, "busy", 7.0), refused(429, "busy", 9999.0), page("5"))
    followed = await Followed(script).run()
    assert followed.pauses[:2] == [7.0, 60.0]


async def test_pauses_grow_and_are_bounded() -> None:
    script = Script(*(broken() for _ in range(12)), page("5"))
    followed = await Followed(script).run()
    pauses = followed.pauses[:12]
    assert 0.1 <= pauses[0] <= 0.2
    assert all(5.0 <= pause <= 10.0 for pause in pauses[8:])


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(lambda: b"<html>", id="no list"),
        pytest.param(lambda: b'{"items":[]}', id="no version"),
    ],
)
async def test_an_answer_that_makes_no_sense_is_told(answer: Callable[[], bytes]) -> None:
    followed = await Followed(Script(answer(), page("5"))).run()
    assert followed.counts.failures == ["format"]


async def test_a_line_that_makes_no_sense_is_followed_by_a_list() -> None:
    script = Script(page("5"), [b"{"], page("6"))
    followed = await Followed(script).run()
    assert followed.counts.failures == ["format"]
    assert script.query(3)["resourceVersion"] == ["6"]


async def test_of_two_kinds_the_first_with_an_object_is_followed() -> None:
    script = Script(page("5"), page("6", "a"))
    followed = await Followed(script, NEW, OLD).run()
    assert followed.picture.told == [("/old", [{"metadata": {"name": "a"}}])]
    assert script.asked[2].startswith("/old?watch=true")


@pytest.mark.parametrize("status", [403, 404])
async def test_a_kind_that_is_absent_or_not_shown_is_passed_over(status: int) -> None:
    for answers in ((refused(status), page("6")), (page("6"), refused(status))):
        followed = await Followed(Script(*answers), NEW, OLD).run()
        assert followed.counts.failures == []
        assert followed.picture.told[0][1] == []


async def test_the_first_refusal_is_told_when_no_kind_is_there() -> None:
    script = Script(refused(404, "no such thing"), refused(403, "not allowed"), page("5", "a"))
    followed = await Followed(script, NEW, OLD).run()
    assert "no such thing (is the CustomResourceDefinition installed?)" in (followed.problems[0] or "")


async def test_while_there_is_no_object_every_kind_is_listed_again_after_a_watch() -> None:
    script = Script(page("5"), page("5"), [event("BOOKMARK", "", "6")], page("7"), page("7", "a"))
    followed = await Followed(script, NEW, OLD).run()
    assert followed.picture.told[-1] == ("/old", [{"metadata": {"name": "a"}}])


async def test_an_object_that_moves_to_the_first_kind_is_followed_there() -> None:
    script = Script(
        *(page("5"), page("5", "a"), [event("BOOKMARK", "", "6")]),  # it is of the second kind
        *(page("7"), page("7", "a"), [event("BOOKMARK", "", "8")]),  # still
        *(page("9", "a"), [event("BOOKMARK", "", "10")]),
    )
    followed = await Followed(script, NEW, OLD).run()
    assert [told for told, _ in followed.picture.told] == ["/old", "/old", "/new"]
    (lasts_s,) = script.query(2)["timeoutSeconds"]
    assert int(lasts_s) <= 1.2 * LOOK_S
    (lasts_s,) = script.query(-1)["timeoutSeconds"]
    assert int(lasts_s) >= 0.8 * 300
    assert len(script.asked) == 9, "what is of the first kind is not listed again"


async def test_an_object_that_was_deleted_is_looked_for_under_every_kind() -> None:
    script = Script(page("5", "a"), [event("DELETED", "a", "6")], page("7"), page("7", "a"))
    followed = await Followed(script, NEW, OLD).run()
    assert [told for told, _ in followed.picture.told] == ["/new", "DELETED", "/old"]


@pytest.mark.parametrize("status", [403, 404])
async def test_a_kind_that_had_the_object_and_is_not_shown_for_a_moment_keeps_it(status: int) -> None:
    """An API server that starts knows its roles and definitions one after the other."""
    away = FetchError(FetchFailure.CONNECT, "away")
    script = Script(page("5", "a"), away, refused(status), page("7", "a"))
    followed = await Followed(script, NEW, OLD).run()
    assert followed.picture.told == [("/new", [{"metadata": {"name": "a"}}])] * 2
    assert not any(asked.startswith("/old") for asked in script.asked)
    assert "the Kubernetes API at api" in (followed.problems[-1] or "")


async def test_a_list_has_an_end() -> None:
    script = Script(*(page("5", rest="t") for _ in range(100)), page("6"))
    followed = await Followed(script).run()
    assert followed.counts.failures == ["format"]
    assert followed.picture.told == [("/new", [])]


def optional(script: Script) -> Followed:
    followed = Followed(script)
    followed.reflector = Reflector(
        script, (NEW,), followed.picture, followed.counts, optional=True, sleep=followed._sleep
    )
    return followed


async def test_an_optional_kind_that_is_not_installed_has_no_objects() -> None:
    script = Script(refused(404), page("5", "a"), [error(500)], refused(404), page("9", "b"))
    followed = await optional(script).run()
    told = [(path, len(objects)) for path, objects in followed.picture.told]  # type: ignore[arg-type]
    assert told == [("/new", 0), ("/new", 1), ("/new", 0), ("/new", 1)]
    assert followed.problems[0] is None
    assert followed.pauses[0] == LOOK_S, "it is not looked for often"


async def test_an_optional_kind_that_may_not_be_read_any_more_keeps_its_objects() -> None:
    script = Script(page("5", "a"), refused(403), page("9", "b"))
    followed = await optional(script).run()
    assert len(followed.picture.told) == 2
    assert followed.problems == [None]
    assert followed.counts.failures == []
