"""The client's own name of its model, put back into an answer to a request that was rewritten.

Total: every answer passes, changed or not, and :attr:`ModelRestorer.outcome` says which it was.
"""

from collections.abc import Mapping
from typing import Final

import msgspec

from epp.core.restoring import Restored
from epp.wire.renaming.document import Document
from epp.wire.renaming.events import EventRenamer, spliced

_EVENTS: Final = "text/event-stream"
_JSON: Final = "application/json"
_PLAIN: Final = frozenset({"", "identity"})


class ModelRestorer:
    """Of one answer (satisfies :class:`~epp.core.restoring.Restorer`)."""

    __slots__ = ("_client_model", "_outcome", "_renamer")

    def __init__(self, client_model: str) -> None:
        """``client_model``: the name the client asked with."""
        self._client_model = client_model
        self._renamer: EventRenamer | _TextRenamer | None = None
        self._outcome: Restored | None = None

    @property
    def reads(self) -> bool:
        """See Restorer."""
        return self._renamer is not None

    @property
    def outcome(self) -> Restored | None:
        """See Restorer."""
        return Restored.RESTORED if self._renamer is not None and self._renamer.found else self._outcome

    def begin(self, headers: Mapping[str, str]) -> None:
        """See Restorer."""
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        if headers.get("content-encoding", "").strip().lower() not in _PLAIN:
            self._outcome = Restored.ENCODED
        elif kind not in (_EVENTS, _JSON) and not kind.endswith("+json"):
            self._outcome = Restored.OTHER_TYPE
        else:
            name = msgspec.json.encode(self._client_model)[1:-1]
            self._renamer = EventRenamer(name) if kind == _EVENTS else _TextRenamer(name)
            self._outcome = Restored.UNSEEN

    def feed(self, piece: bytes) -> bytes:
        """See Restorer."""
        if self._renamer is None:
            return piece
        self._outcome = Restored.ABSENT
        return self._renamer.feed(piece)


class _TextRenamer:
    """A body that is one JSON text."""

    __slots__ = ("_document", "found")

    def __init__(self, name: bytes) -> None:
        self._document = Document(name)
        self.found = False

    def feed(self, piece: bytes) -> bytes:
        if self._document.passing:
            return piece
        cut = self._document.scan(piece, 0, len(piece))
        if cut is None:
            return piece
        self.found = True
        return spliced(piece, [cut])
