"""Answers that name another model than the client did, and what is needed of whoever changes them."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Protocol


class Restored(StrEnum):
    """What became of the model's name in one answer: a metric label."""

    RESTORED = "restored"
    """The client's name is in it again."""
    ABSENT = "absent"
    """As far as it was read it names no model: most errors."""
    ENCODED = "encoded"
    """It is compressed, and passed as it was."""
    OTHER_TYPE = "other-type"
    """It is neither JSON nor an event stream, and passed as it was."""
    UNSEEN = "unseen"
    """The gateway keeps its body to itself."""


class Restorer(Protocol):
    """Puts the client's name back into one answer."""

    @property
    def reads(self) -> bool:
        """Whether pieces of the body may be changed; known once :meth:`begin` was called."""
        ...

    @property
    def outcome(self) -> Restored | None:
        """How it went so far; None: no answer with a body has begun."""
        ...

    def begin(self, headers: Mapping[str, str]) -> None:
        """The head of an answer that has a body; names in lower case. Once."""
        ...

    def feed(self, piece: bytes) -> bytes:
        """The next piece as the client gets it: the very same object if nothing changes in it, perhaps
        empty. Nothing is held back for a later piece."""
        ...
