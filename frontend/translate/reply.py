"""A reply that turns a chat answer into another API's answer on its way to the client."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import msgspec

from epp.core.outcomes import HeaderPairs
from frontend.http.api import Flow, Reply, whole
from frontend.sse import SseReader
from frontend.translate.chat import Chunk, error_message, read_chunk
from frontend.translate.stream import UNREADABLE, ChatStream, Writer

MAX_WHOLE_BYTES: Final = 64 * 1024 * 1024
"""A whole answer is held until it is complete. A million tokens of text are a tenth of this."""
_OURS: Final = frozenset({"content-length", "content-type", "content-encoding", "transfer-encoding"})
"""Headers of the answer that describe a body which is replaced."""
_UNKNOWN: Final = "The model server refused the request."


@dataclass(frozen=True, slots=True)
class Target:
    """The API that is answered."""

    writer: Writer
    """Of its events."""
    whole: Callable[[Chunk], bytes]
    """Its object for a whole completion; raises ValueError if there is none."""
    error: Callable[[int, str, bytes], bytes]
    """Its body for an error: status, sentence, and what the engine itself said (may be empty)."""


class TranslatedReply:
    """Wraps the client's reply. What it is told decides how it translates: an event stream piece by piece, a
    whole answer or an error at its end. Never raises for what an engine sends."""

    def __init__(self, reply: Reply, target: Target) -> None:
        self._reply = reply
        self._target = target
        self._status = 200
        self._headers: HeaderPairs = ()
        self._reader: SseReader | None = None
        """Present: the answer is an event stream."""
        self._stream = ChatStream(target.writer)
        self._held: list[bytes] = []
        self._held_bytes = 0
        self.started = False
        """See :class:`~frontend.http.api.Reply`; the client's own reply may begin only at the end."""

    def start(self, status: int, headers: HeaderPairs) -> None:
        """See :class:`~frontend.http.api.Reply`."""
        self.started = True
        self._status = status
        self._headers = tuple(pair for pair in headers if pair[0].lower() not in _OURS)
        kinds = [value for name, value in headers if name.lower() == "content-type"]
        if status < 400 and any("text/event-stream" in kind.lower() for kind in kinds):
            self._reader = SseReader()
            self._reply.start(status, (*self._headers, ("content-type", "text/event-stream; charset=utf-8")))

    def attach(self, source: Flow | None) -> None:
        """See :class:`~frontend.http.api.Sink`."""
        self._reply.attach(source)

    def data(self, piece: bytes) -> None:
        """See :class:`~frontend.http.api.Sink`."""
        if self._reader is None:
            self._held_bytes += len(piece)
            if self._held_bytes <= MAX_WHOLE_BYTES:
                self._held.append(piece)
            else:
                self._held.clear()
            return
        try:
            events = self._reader.feed(piece)
        except ValueError:
            self._reader = SseReader()  # of no more use; whatever follows is dropped with its stream
            self._push(self._stream.fail(502, UNREADABLE))
            return
        self._push(b"".join([self._stream.feed(event) for event in events]))

    def end(self) -> None:
        """See :class:`~frontend.http.api.Reply`."""
        if self._reader is not None:
            self._push(self._stream.finish())
            self._reply.end()
            return
        status, body = self._whole(b"".join(self._held))
        whole(self._reply, status, (*self._headers, ("content-type", "application/json")), body)

    def _push(self, piece: bytes) -> None:
        if piece:
            self._reply.data(piece)

    def _whole(self, body: bytes) -> tuple[int, bytes]:
        if self._status >= 400:
            return self._status, self._target.error(self._status, _sentence(body), body)
        try:
            return self._status, self._target.whole(read_chunk(body))
        except ValueError:
            return 502, self._target.error(502, UNREADABLE, b"")


def _sentence(body: bytes) -> str:
    """What an engine's error body says."""
    try:
        return error_message(msgspec.json.decode(body)) or _UNKNOWN
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return _UNKNOWN
