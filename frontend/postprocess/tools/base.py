"""What parsers of calls share: text until a mark, then a block that is a call or turns out to be text.

A parser is fed text in pieces and gives pieces of the answer; feeding the same text in other pieces gives the
same answer (see ``pieces.merged``). It never raises: what does not follow the format is text.
"""

import re
from collections.abc import Callable
from typing import Final, Protocol

from frontend.postprocess.pieces import CallArguments, CallStart, Content, Piece
from frontend.postprocess.stops import held_chars
from frontend.postprocess.tools.scan import JsonScan

NAME: Final = re.compile(r"[A-Za-z0-9_.:/-]{1,256}")
"""What a function may be called."""
MAX_NAME_CHARS: Final = 256
MAX_HEAD_CHARS: Final = MAX_NAME_CHARS + 256
"""How much may name a function or an argument, with all that stands beside the name."""
_SLICE_CHARS: Final = 4096
"""No more is looked at in one go: many marks in one piece cost what they cost in many."""


class ToolParser(Protocol):
    """Text → text and calls."""

    @property
    def marks(self) -> tuple[str, ...]:
        """Special tokens the format is written with: they must reach the parser as text."""
        ...

    @property
    def reasoning(self) -> bool:
        """In the middle of reasoning, where the format marks that, too."""
        ...

    def feed(self, text: str) -> list[Piece]:
        """What is certain with ``text`` that was not before."""
        ...

    def finish(self) -> list[Piece]:
        """The rest, when nothing follows."""
        ...


class TextOnly:
    """No calls at all."""

    marks: tuple[str, ...] = ()
    reasoning = False

    def feed(self, text: str) -> list[Piece]:
        """See ToolParser."""
        return [Content(text)] if text else []

    def finish(self) -> list[Piece]:
        """See ToolParser."""
        return []


class Parts:
    """Text that comes in pieces and is wanted whole; a piece costs its own length, not that of the whole."""

    __slots__ = ("_parts",)

    def __init__(self, text: str = "") -> None:
        self._parts = [text]

    def add(self, text: str) -> None:
        """Append ``text``."""
        if text:
            self._parts.append(text)

    def taken(self) -> str:
        """All of it; none is left."""
        text = "".join(self._parts)
        self._parts.clear()
        return text


class BlockParser:
    """Base of the formats: ``_step`` consumes from ``_buffer`` and says whether to go on.

    The buffer is read again with every piece, so that a step leaves no more than a bounded head in it: what
    can be long and is wanted whole is collected in ``Parts``.
    White space beside a call belongs to the format: it is held after other text until more text follows, and
    dropped if a call does or the answer ends after one.
    """

    marks: tuple[str, ...] = ()

    @property
    def reasoning(self) -> bool:
        """See ToolParser: most formats mark calls only."""
        return False

    def __init__(self, known: frozenset[str] | None = None) -> None:
        self._known = known
        self._buffer = ""
        self._ended = False
        self._calls = False
        self._space = Parts()
        self._out: list[Piece] = []

    def feed(self, text: str) -> list[Piece]:
        """See ToolParser."""
        for at in range(0, len(text), _SLICE_CHARS):
            self._buffer += text[at : at + _SLICE_CHARS]
            self._run_into()
        return self._taken()

    def finish(self) -> list[Piece]:
        """See ToolParser."""
        self._ended = True
        self._run_into()
        if self._buffer:
            self._say(self._take(len(self._buffer)))
        if not self._calls:
            self._out.append(Content(self._space.taken()))
        return self._taken()

    def _run_into(self) -> None:
        while self._step():
            pass

    def _taken(self) -> list[Piece]:
        out, self._out = self._out, []
        return out

    def _step(self) -> bool:
        raise NotImplementedError

    def _take(self, chars: int) -> str:
        text, self._buffer = self._buffer[:chars], self._buffer[chars:]
        return text

    def _say(self, text: str) -> None:
        """Text outside calls."""
        body = text.rstrip()
        if body:
            self._out.append(Content(self._space.taken() + body))
        self._space.add(text[len(body) :])

    def _said_until(self, marks: tuple[str, ...]) -> str | None:
        """Say everything before the first of ``marks`` and take them off; None: none is there yet."""
        mark = self._passed_until(marks, self._say)
        self._take(len(mark or ""))
        return mark

    def _passed_until(self, marks: tuple[str, ...], to: Callable[[str], object]) -> str | None:
        """Take off and pass on everything before the first of ``marks``, which stays, or, None, what may
        become one."""
        found = first_of(self._buffer, marks)
        if found is None:
            keep = 0 if self._ended else held_chars(self._buffer, marks)
            to(self._take(len(self._buffer) - keep))
            return None
        at, mark = found
        to(self._take(at))
        return mark

    def _skip_space(self) -> str:
        """Take leading white space off; returns it."""
        return self._take(len(self._buffer) - len(self._buffer.lstrip()))

    def _may_be(self, mark: str) -> bool:
        """The buffer is a proper beginning of ``mark``."""
        return len(self._buffer) < len(mark) and mark.startswith(self._buffer)

    def _flow(self, scan: JsonScan) -> bool:
        """Pass arguments on as far as they have come; True: they are over."""
        if self._buffer:
            self._out.append(CallArguments(self._take(scan.feed(self._buffer, 0))))
        return scan.done or scan.failed

    def _call_began(self) -> None:
        """A call is certain: what white space stood before it is dropped."""
        self._space = Parts()
        self._calls = True

    def _start_call(self, name: str, call_id: str = "") -> None:
        self._call_began()
        self._out.append(CallStart(name, call_id))

    def _whole_call(self, name: str, arguments: str) -> None:
        self._start_call(name)
        self._out.append(CallArguments(arguments))


def first_of(text: str, marks: tuple[str, ...]) -> tuple[int, str] | None:
    """Which of ``marks`` comes first, and where; None: none is there."""
    found = [(at, mark) for mark in marks if (at := text.find(mark)) >= 0]
    return min(found) if found else None
