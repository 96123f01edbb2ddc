"""An engine on its own thread: deadlines, endings, leases. No C here."""

import asyncio
import io
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from epp.core.outcomes import Ending, PickInput
from epp.embedding.answer import Answer
from epp.embedding.configuration import read
from epp.embedding.session import Session
from epp.embedding.status import CallError, Status
from epp.engine import Engine
from epp.telemetry.logs import FieldLog, LineWriter

POOL = b"""
endpoints:
  - {name: a, address: 10.0.0.1, port: 8000}
scrape: {enabled: false}
events: {enabled: false}
server: {max_body_bytes: 2KiB}
"""
BODY = b'{"model": "m", "messages": [{"role": "user", "content": "How do you do?"}]}'
DEADLINE_S = 60.0


def opened(extra: bytes = b"") -> Session:
    writer = LineWriter(io.StringIO())
    return Session(read(POOL + extra, {}), writer, FieldLog(writer, json=False, enabled=False))


@pytest.fixture
def session() -> Iterator[Session]:
    session = opened()
    yield session
    session.close()


def chat(body: bytes = BODY, **headers: str) -> PickInput:
    return PickInput("POST", "/v1/chat/completions", headers, body)


def on_loop(session: Session, look: Callable[[Engine], Any]) -> Any:
    async def work(engine: Engine) -> Any:
        return look(engine)

    return session._ask(work, DEADLINE_S)


def bookings(session: Session) -> int:
    found: int = on_loop(session, lambda engine: engine.router.stats().bookings)
    return found


def until(true: Callable[[], bool]) -> None:
    end_s = time.monotonic() + DEADLINE_S
    while not true():
        assert time.monotonic() < end_s, "the condition never came true"
        time.sleep(0.01)


def slowed(session: Session, monkeypatch: pytest.MonkeyPatch, pause: Callable[[], Awaitable[object]]) -> None:
    """Every choice first waits."""
    choose = session._engine.picker.choose

    async def choose_slowly(request: PickInput, *, book: bool, record: bool) -> Any:
        await pause()
        return await choose(request, book=book, record=record)

    monkeypatch.setattr(session._engine.picker, "choose", choose_slowly)


def test_a_booking_lives_from_select_to_finish(session: Session) -> None:
    answer = session.select(chat(), book=True, deadline_s=DEADLINE_S)
    assert answer.status is Status.OK
    assert bookings(session) == 1
    session.renew(answer.booking)
    session.finish(answer.booking, Ending.COMPLETED)
    assert bookings(session) == 0
    for call in (
        lambda: session.finish(answer.booking, Ending.COMPLETED),
        lambda: session.renew(answer.booking),
    ):
        with pytest.raises(CallError) as caught:
            call()
        assert caught.value.status is Status.UNKNOWN


def test_asking_books_nothing(session: Session) -> None:
    assert session.select(chat(), book=False, deadline_s=DEADLINE_S).booking == 0
    assert bookings(session) == 0


def requests_counted(session: Session) -> float:
    """Of all models, as the metrics page says."""
    attempts = "llm_d_epp_scheduler_attempts_total{"
    lines = session.metrics().decode().splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith(attempts))


def test_the_metrics_page_counts_requests_and_no_questions(session: Session) -> None:
    session.select(chat(), book=True, deadline_s=DEADLINE_S)
    session.select(chat(b"no JSON"), book=True, deadline_s=DEADLINE_S)
    assert requests_counted(session) == 2
    for body in (BODY, b"no JSON"):
        session.select(chat(body), book=False, record=False, deadline_s=DEADLINE_S)
    assert requests_counted(session) == 2


def test_a_booking_nobody_finishes_ends_with_its_lease() -> None:
    session = opened(b"routing: {lease_s: 1}\n")
    try:
        answer = session.select(chat(), book=True, deadline_s=DEADLINE_S)
        assert answer.booking
        until(lambda: bookings(session) == 0)
        with pytest.raises(CallError) as caught:
            session.finish(answer.booking, Ending.COMPLETED)
        assert caught.value.status is Status.UNKNOWN
    finally:
        session.close()


def test_a_clients_pins_are_neither_believed_nor_forwarded(session: Session) -> None:
    answer = session.select(chat(**{"x-worker-instance-id": "99"}), book=False, deadline_s=DEADLINE_S)
    assert answer.status is Status.OK
    assert answer.remove_headers == ("x-worker-instance-id",)


def test_a_body_beyond_the_bound_is_refused(session: Session) -> None:
    answer = session.select(chat(b"x" * 3000), book=True, deadline_s=DEADLINE_S)
    assert (answer.status, answer.http_status) == (Status.REFUSED, 413)


def test_the_deadline_cancels_the_choice(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    slowed(session, monkeypatch, asyncio.Event().wait)
    with pytest.raises(CallError) as caught:
        session.select(chat(), book=True, deadline_s=0.05)
    assert caught.value.status is Status.DEADLINE
    until(lambda: len(session._calls) == 0)
    assert bookings(session) == 0


def test_a_choice_that_comes_too_late_is_unbooked(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop is held while the deadline passes, so the choice is made and nobody takes it."""
    free = threading.Event()

    async def hold() -> None:
        free.wait(DEADLINE_S)

    slowed(session, monkeypatch, hold)
    undone: list[Answer] = []
    unbook = session._unbook
    monkeypatch.setattr(session, "_unbook", lambda answer: (undone.append(answer), unbook(answer)))
    with pytest.raises(CallError) as caught:
        session.select(chat(), book=True, deadline_s=0.05)
    free.set()
    assert caught.value.status is Status.DEADLINE
    until(lambda: bool(undone))
    assert undone[0].booking
    assert bookings(session) == 0


def test_closing_ends_the_calls_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    session = opened()
    slowed(session, monkeypatch, asyncio.Event().wait)
    statuses: list[Status] = []

    def ask() -> None:
        try:
            session.select(chat(), book=True, deadline_s=DEADLINE_S)
        except CallError as error:
            statuses.append(error.status)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    until(lambda: len(session._calls) == 4)
    session.close()
    for thread in threads:
        thread.join(DEADLINE_S)
    assert statuses == [Status.CLOSED] * 4
    with pytest.raises(CallError) as caught:
        session.select(chat(), book=True, deadline_s=DEADLINE_S)
    assert caught.value.status is Status.CLOSED
    with pytest.raises(CallError):
        session.close()


def test_what_is_not_ready_is_said() -> None:
    writer = LineWriter(io.StringIO())
    session = Session(read(b"endpoints: []", {}), writer, FieldLog(writer, json=False, enabled=False))
    try:
        with pytest.raises(CallError, match="discovery: no endpoints"):
            session.wait_ready(0.05)
    finally:
        session.close()


def test_an_engine_that_cannot_be_made_raises_where_it_was_opened() -> None:
    """And its thread ends."""
    with pytest.raises(Exception, match="no-such-scorer"):
        opened(b"picker: {plugins: [{type: no-such-scorer}]}\n")
    until(lambda: not any(thread.name == "epp-picker" for thread in threading.enumerate()))
