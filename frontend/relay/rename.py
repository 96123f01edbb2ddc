"""The outermost segment: the client's name of its model in answers of another one, whoever wrote it there."""

from collections.abc import Callable

from epp.core.outcomes import HeaderPairs
from epp.core.restoring import Restored
from epp.wire.renaming import ModelRestorer
from frontend.http.api import Flow, Reply
from frontend.pipeline.call import Call, Segment


class Rename:
    """Calls that name their own model pass untouched."""

    name = "rename"

    def __init__(self, next_: Segment, restored: Callable[[Restored], None]) -> None:
        """``restored`` is told how each answer went."""
        self.next = next_
        self._restored = restored

    async def handle(self, call: Call, reply: Reply) -> None:
        """See Segment."""
        if call.client_model is None:
            await self.next.handle(call, reply)
            return
        restorer = ModelRestorer(call.client_model)
        try:
            await self.next.handle(call, RenamedReply(reply, restorer))
        finally:
            if restorer.outcome is not None:
                self._restored(restorer.outcome)


class RenamedReply:
    """Implements :class:`~frontend.http.api.Reply` over another one; holds nothing back."""

    def __init__(self, inner: Reply, restorer: ModelRestorer) -> None:
        self._inner = inner
        self._restorer = restorer
        self.started = False

    def start(self, status: int, headers: HeaderPairs) -> None:
        """See Reply; a length is not known any more."""
        self.started = True
        self._restorer.begin(dict(headers))
        if self._restorer.reads:
            headers = tuple(pair for pair in headers if pair[0] != "content-length")
        self._inner.start(status, headers)

    def data(self, piece: bytes) -> None:
        """See Sink."""
        piece = self._restorer.feed(piece)
        if piece:
            self._inner.data(piece)

    def end(self) -> None:
        """See Reply."""
        self._inner.end()

    def attach(self, source: Flow | None) -> None:
        """See Sink."""
        self._inner.attach(source)
