"""What parsers of calls share: text until a mark, then a block that is a call or turns out to be text.

A parser is fed text in pieces and gives pieces of the answer; feeding the same text in other pieces gives the
same answer (see ``pieces.merged``). It never raises: what does not follow the format is text.
"""

import re
from typing import Final, Protocol

from frontend.postprocess.pieces import CallArguments, CallStart, Content, Piece
from frontend.postprocess.stops import held_chars
from frontend.postprocess.tools.scan import JsonScan

NAME: Final = re.compile(r"[A-Za-z0-9_.:/-]{1,256}")
"""What a function may be called."""
MAX_NAME_CHARS: Final = 256


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


class BlockParser:
    """Base of the formats: ``_step`` consumes from ``_buffer`` and says whether to go on.

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
        self._space = ""
        self._out: list[Piece] = []

    def feed(self, text: str) -> list[Piece]:
        """See ToolParser."""
        self._buffer += text
        return self._run()

    def finish(self) -> list[Piece]:
        """See ToolParser."""
        self._ended = True
        self._run_into()
        if self._buffer:
            self._say(self._take(len(self._buffer)))
        if not self._calls:
            self._out.append(Content(self._space))
        return self._taken()

    def _run(self) -> list[Piece]:
        self._run_into()
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
        whole = self._space + text
        body = whole.rstrip()
        self._space = whole[len(body) :]
        if body:
            self._out.append(Content(body))

    def _said_until(self, marks: tuple[str, ...]) -> str | None:
        """Say everything before the first of ``marks`` and take it off; None: none is there yet."""
        found = first_of(self._buffer, marks)
        if found is None:
            keep = 0 if self._ended else held_chars(self._buffer, marks)
            self._say(self._take(len(self._buffer) - keep))
            return None
        at, mark = found
        self._say(self._take(at))
        self._take(len(mark))
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
        self._space = ""
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
