"""What one attempt holds back and passes on."""

import pytest

from frontend.sse import SseEvent, SseReader
from frontend.tolerance import attempt as module
from frontend.tolerance.attempt import AttemptReply
from frontend.tolerance.plain import Restart
from tests.unit.frontend.fakes import FakeReply, call


def test_a_line_that_never_ends_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    fed: list[bytes] = []

    class Reader(SseReader):
        def feed(self, piece: bytes) -> list[SseEvent]:
            fed.append(piece)
            return super().feed(piece)

    monkeypatch.setattr(module, "SseReader", lambda: Reader(max_event_bytes=10))
    client = FakeReply()
    reply = AttemptReply(client, Restart(call()))
    reply.start(200, (("content-type", "text/event-stream"),))
    for _ in range(5):
        reply.data(b"data: more")
    assert len(fed) == 2
    assert reply.broken
    assert client.pieces == []
