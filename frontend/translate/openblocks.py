"""Which parts of an answer are open, where a stream has to say when each of them ends.

Engines write one part after the other, but nothing in the chat form says when a tool call is complete, and
its pieces may be interleaved with those of other calls. So a call is closed when something else begins
and its arguments are complete JSON; otherwise it stays open until the answer ends.
"""

from dataclasses import dataclass, field
from typing import Final

import msgspec

_OBJECT: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])


def as_object(arguments: str) -> msgspec.Raw | None:
    """``arguments`` as they stand if they are a JSON object, else None. No value is decoded, so that none is
    changed."""
    try:
        _OBJECT.decode(arguments)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return None
    return msgspec.Raw(arguments.strip().encode())


@dataclass(slots=True)
class OpenCall:
    """One tool call while it is being written."""

    index: int
    """Its place in the answer."""
    call_id: str
    name: str
    pieces: list[str] = field(default_factory=list[str])
    open: bool = True

    def arguments(self) -> str:
        """What has come of them."""
        return "".join(self.pieces)


class OpenCalls:
    """The tool calls of one answer by key."""

    __slots__ = ("_calls",)

    def __init__(self) -> None:
        self._calls: dict[int, OpenCall] = {}

    def get(self, key: int) -> OpenCall | None:
        """The call ``key``, open or closed."""
        return self._calls.get(key)

    def begin(self, key: int, call: OpenCall) -> OpenCall:
        """Another call."""
        self._calls[key] = call
        return call

    def any(self) -> bool:
        """Whether a tool was called."""
        return bool(self._calls)

    def closing(self, *, all_: bool) -> list[OpenCall]:
        """Mark as closed, and return, the open calls that are complete (or all of them), in order."""
        ready = [
            call
            for call in self._calls.values()
            if call.open and (all_ or as_object(call.arguments()) is not None)
        ]
        for call in ready:
            call.open = False
        return ready
