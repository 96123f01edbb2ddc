"""The reply the segments below write the engine's token stream into."""

from collections.abc import Callable
from typing import Final

from epp.core.outcomes import HeaderPairs
from frontend.errors import ApiError
from frontend.http.api import Flow, Reply, whole
from frontend.pipeline.call import Facts
from frontend.postprocess.answer import Answer, EngineFailedError, EngineRefusedError, StreamOptions
from frontend.sse import DONE_DATA, SseReader

_OK: Final = 200
_MAX_MESSAGE_CHARS: Final = 1024
"""Of what an engine finds wrong with a request."""
_BODY_HEADERS: Final = frozenset({"content-type", "content-length", "transfer-encoding"})
_JSON: Final = ("content-type", "application/json")
_EVENTS: Final = ("content-type", "text/event-stream; charset=utf-8")


class TokenReply:
    """Turns what is written into it into the client's answer. An answer that is no 200 passes as it is.

    Nothing is raised into the writer: what goes wrong stands in ``failure``, and ``stop`` is called, once,
    when what follows is of no use: after a failure, or when every choice met a stop string.
    """

    def __init__(
        self, reply: Reply, answer: Answer, facts: Facts, options: StreamOptions, stop: Callable[[], object]
    ) -> None:
        """``facts`` are kept up to date: whoever booked the request asks for them when it ends below."""
        self._reply = reply
        self._facts = facts
        self._answer = answer
        self._options = options
        self._stop = stop
        self._reader = SseReader()
        self._headers: HeaderPairs = ()
        self._as_it_is = False
        self._over = False
        self.started = False
        self.failure: ApiError | None = None
        """What the client is to be told, if it still can be."""

    @property
    def over(self) -> bool:
        """The client has its answer, or never will: nothing from below counts any more."""
        return self._over

    def start(self, status: int, headers: HeaderPairs) -> None:
        """See Reply."""
        self.started = True
        self._as_it_is = status != _OK
        self._headers = tuple(pair for pair in headers if pair[0].lower() not in _BODY_HEADERS)
        if self._as_it_is:
            self._reply.start(status, headers)

    def data(self, piece: bytes) -> None:
        """See Sink."""
        if self._as_it_is:
            self._reply.data(piece)
        elif not self._over:
            self._guarded(piece)

    def attach(self, source: Flow | None) -> None:
        """See Sink."""
        self._reply.attach(source)

    def end(self) -> None:
        """See Reply."""
        if self._as_it_is:
            self._reply.end()
        elif not self._over and self._answer.complete:
            self._finish()
        elif not self._over:
            self._fail("The model server's answer ended early.", 502)

    def _guarded(self, piece: bytes) -> None:
        try:
            self._read(piece)
        except EngineRefusedError as error:
            self._fail(str(error)[:_MAX_MESSAGE_CHARS], 400)
        except EngineFailedError:
            self._fail("The model server failed while generating.", 500)
        except ValueError:  # a WireError, or more bytes than any event has
            self._fail("The model server's answer is not of its form.", 502)

    def _read(self, piece: bytes) -> None:
        out: list[bytes] = []
        for event in self._reader.feed(piece):
            if event.data == DONE_DATA:
                break
            out.append(self._answer.event(event.data))
        self._facts.output_tokens = self._answer.output_tokens
        if self._answer.cached_tokens is not None:
            self._facts.cached_tokens = self._answer.cached_tokens
        shown = b"".join(out)
        if shown:
            self._show(shown)
        if self._answer.stopped:
            self._finish()
            self._stop()

    def _show(self, shown: bytes) -> None:
        if not self._reply.started:
            self._reply.start(_OK, (*self._headers, _EVENTS, ("cache-control", "no-cache")))
        self._reply.data(shown)

    def _finish(self) -> None:
        self._over = True
        last = self._answer.end()
        if self._options.stream:
            self._show(last)
            self._reply.end()
        else:
            whole(self._reply, _OK, (*self._headers, _JSON), last)

    def _fail(self, message: str, status: int) -> None:
        self._over = True
        self.failure = ApiError(status, message)
        self._stop()
