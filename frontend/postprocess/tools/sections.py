"""Formats that mark sections of calls, each a head, a separator and a JSON object.

- DeepSeek V3 and R1 write ``function``, a separator, the name and a fenced JSON block; V3.1 writes the name,
  the separator and the object. The marks are written with U+FF5C for a bar and U+2581 for a space.
- Kimi K2 writes the call's id, ``functions.name:0``, for a head; its template wants the id back as it was.
"""

import re
from enum import Enum, auto
from typing import Final, NamedTuple

from frontend.postprocess.tools.base import MAX_NAME_CHARS, NAME, BlockParser
from frontend.postprocess.tools.scan import JsonScan


class SectionMarks(NamedTuple):
    """The marks of one format."""

    calls_begin: str
    calls_end: str
    call_begin: str
    call_end: str
    separator: str
    ids: re.Pattern[str] | None = None
    """Heads that are ids, with the function's ``name``."""


_BAR: Final = "\uff5c"
DEEPSEEK: Final = SectionMarks(
    f"<{_BAR}tool▁calls▁begin{_BAR}>",
    f"<{_BAR}tool▁calls▁end{_BAR}>",
    f"<{_BAR}tool▁call▁begin{_BAR}>",
    f"<{_BAR}tool▁call▁end{_BAR}>",
    f"<{_BAR}tool▁sep{_BAR}>",
)
KIMI_K2: Final = SectionMarks(
    "<|tool_calls_section_begin|>",
    "<|tool_calls_section_end|>",
    "<|tool_call_begin|>",
    "<|tool_call_end|>",
    "<|tool_call_argument_begin|>",
    ids=re.compile(r"(?:functions\.)?(?P<name>[A-Za-z0-9_./-]{1,256}):\d{1,9}"),
)
_FENCE: Final = "```"
_KIND: Final = "function"
_MAX_HEAD_CHARS: Final = MAX_NAME_CHARS + 32
_MAX_FENCE_CHARS: Final = 64  # "```json" and white space


class _At(Enum):
    TEXT = auto()
    HEAD = auto()
    NAME = auto()
    FENCE = auto()
    ARGUMENTS = auto()
    AFTER = auto()


class SectionParser(BlockParser):
    """Marks around and between calls are the format's and are dropped wherever they stand."""

    def __init__(self, marks: SectionMarks) -> None:
        super().__init__(None)
        self.marks = marks[:5]
        self._format = marks
        self._at = _At.TEXT
        self._opened = ""
        """What is text again if the call is none."""
        self._name = self._id = ""
        self._scan = JsonScan()

    def _step(self) -> bool:
        match self._at:
            case _At.TEXT:
                return self._text()
            case _At.HEAD:
                return self._head()
            case _At.NAME:
                return self._name_line()
            case _At.FENCE:
                return self._fence()
            case _At.ARGUMENTS:
                return self._arguments()
            case _At.AFTER:
                return self._after()

    def _text(self) -> bool:
        mark = self._said_until(self._format[:4])
        if mark == self._format.call_begin:
            self._opened, self._at = self._format.call_begin, _At.HEAD
        return mark is not None

    def _head(self) -> bool:
        separator = self._format.separator
        head = self._until(separator)
        if head is None:
            return self._impossible(separator)
        if head.strip() == _KIND:
            self._at = _At.NAME
            return True
        return self._named(head)

    def _name_line(self) -> bool:
        line = self._until("\n")
        return self._impossible("\n") if line is None else self._named(line)

    def _named(self, text: str) -> bool:
        self._name, self._id = text.strip(), ""
        if self._format.ids is not None and (found := self._format.ids.fullmatch(self._name)):
            self._name, self._id = found["name"], self._name
        if NAME.fullmatch(self._name) is None:
            return self._give_up()
        self._at = _At.FENCE
        return True

    def _fence(self) -> bool:
        """White space and the opening of a code block, if there is one; then an object must follow."""
        body = self._buffer.lstrip()
        fenced = body.startswith(_FENCE)
        end = body.find("\n") if fenced else 0
        begun = body[end:].lstrip() if end >= 0 else ""
        at = len(self._buffer) - len(begun)
        if begun.startswith("{") and at <= _MAX_FENCE_CHARS:
            self._take(at)
            self._start_call(self._name, self._id)
            self._scan, self._at = JsonScan(), _At.ARGUMENTS
            return True
        unsure = not begun or (not fenced and _FENCE.startswith(begun))
        if unsure and not self._ended and len(self._buffer) <= _MAX_FENCE_CHARS:
            return False
        return self._give_up()

    def _arguments(self) -> bool:
        over = self._flow(self._scan)
        if over:
            self._at = _At.AFTER
        return over

    def _after(self) -> bool:
        self._skip_space()
        if not self._buffer or (self._may_be(_FENCE) and not self._ended):
            return False
        if self._buffer.startswith(_FENCE):
            self._take(len(_FENCE))
        self._at = _At.TEXT
        return True

    def _until(self, mark: str) -> str | None:
        """Take off what stands before ``mark``; None: it is not there, or not near enough."""
        at = self._buffer.find(mark)
        if not 0 <= at <= _MAX_HEAD_CHARS:
            return None
        text = self._take(at)
        self._opened += text + self._take(len(mark))
        return text

    def _impossible(self, mark: str) -> bool:
        """``mark`` can no longer come in time."""
        late = self._ended or len(self._buffer) >= _MAX_HEAD_CHARS + len(mark)
        return late and self._give_up()

    def _give_up(self) -> bool:
        self._say(self._opened)
        self._opened, self._at = "", _At.TEXT
        return True
