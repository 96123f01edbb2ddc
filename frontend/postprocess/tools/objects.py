"""Formats that write a call as a bare JSON object: Llama 3, Mistral, and answers held to a JSON schema."""

from enum import Enum, auto
from typing import Final

from frontend.postprocess.pieces import CallArguments, CallStart, Piece
from frontend.postprocess.tools.base import MAX_HEAD_CHARS, NAME, BlockParser, Parts
from frontend.postprocess.tools.scan import CallScan, JsonScan

_PYTHON_TAG: Final = "<|python_tag|>"
_TOOL_CALLS: Final = "[TOOL_CALLS]"
_ARGS: Final = "[ARGS]"
_CALL_ID: Final = "[CALL_ID]"
_MAX_ID_CHARS: Final = 256
_MAX_ID_END: Final = len(_CALL_ID) + _MAX_ID_CHARS + len(_ARGS)
_MAX_NAMED_CHARS: Final = MAX_HEAD_CHARS + _MAX_ID_END
"""What stands before arguments: the name, an id, marks and white space."""


class _At(Enum):
    START = auto()
    """Nothing but white space so far."""
    TEXT = auto()
    MARKED = auto()
    """Behind the mark that announces calls."""
    CALL = auto()
    BETWEEN = auto()
    """Behind a call that another may follow."""
    ARGUMENTS = auto()


class _ObjectParser(BlockParser):
    """One object after another; ``_opened`` is the text that is text again if no call follows it."""

    def __init__(self, known: frozenset[str] | None = None) -> None:
        super().__init__(known)
        self._at = _At.TEXT
        self._opened = Parts()
        self._scan = CallScan(None)

    def _open(self, scan: CallScan) -> bool:
        self._scan, self._at = scan, _At.CALL
        return True

    def _give_up(self, text: str) -> bool:
        self._at = _At.TEXT
        self._say(text)
        return True

    def _opens_with(self, bracket: str) -> bool | None:
        """Whether the answer does, white space aside; None: more text will tell. If not, it is text."""
        self._say(self._skip(""))
        if not self._buffer:
            return None
        opens = self._buffer.startswith(bracket)
        if not opens:
            self._give_up("")
        return opens

    def _read_call(self) -> bool:
        scan = self._scan
        begun = scan.started
        self._take(scan.feed(self._buffer, 0, self._out))
        if scan.started and not begun:
            self._call_began()
        if scan.failed or (self._ended and not scan.started):
            return self._give_up(self._opened.taken() + scan.held)
        if scan.done:
            self._opened, self._at = Parts(), _At.BETWEEN
        return scan.done

    def _skip(self, separators: str) -> str:
        kept = self._buffer.lstrip(" \t\r\n" + separators)
        return self._take(len(self._buffer) - len(kept))


class Llama3Parser(_ObjectParser):
    """``{"name": …, "parameters": {…}}``, divided by ``;``: the whole answer, or behind ``<|python_tag|>``.

    Untagged objects are calls only if they name a function of the request: answers may be JSON as well.
    """

    marks = (_PYTHON_TAG,)

    def __init__(self, known: frozenset[str] | None = None) -> None:
        super().__init__(known)
        self._at = _At.START

    def _step(self) -> bool:
        match self._at:
            case _At.START:
                return self._begin()
            case _At.MARKED:
                return self._tagged()
            case _At.CALL:
                return self._read_call()
            case _At.BETWEEN:
                return self._next()
            case _:
                return self._text()

    def _begin(self) -> bool:
        opens = self._opens_with("{")
        if opens:
            self._open(CallScan(self._known, bare=True))
        return opens is not None

    def _text(self) -> bool:
        if self._said_until((_PYTHON_TAG,)) is None:
            return False
        self._at, self._opened = _At.MARKED, Parts(_PYTHON_TAG)
        return True

    def _tagged(self) -> bool:
        self._opened.add(self._skip(""))
        if not self._buffer and not self._ended:
            return False
        if self._buffer.startswith("{"):
            return self._open(CallScan(None))
        return self._give_up(self._opened.taken())

    def _next(self) -> bool:
        self._opened.add(self._skip(";,"))
        if self._buffer.startswith("{"):
            return self._open(CallScan(self._known, bare=True))
        return bool(self._buffer) and self._give_up(self._opened.taken())


class _ArrayParser(_ObjectParser):
    """``[{…}, {…}]``."""

    def _array(self) -> bool:
        self._opened.add(self._skip(","))
        if not self._buffer:
            return self._ended and not self._calls and self._give_up(self._opened.taken())
        if self._buffer.startswith("{"):
            return self._open(CallScan(self._known))
        if self._buffer.startswith("]"):
            self._take(1)
            return self._give_up("")
        return self._give_up(self._opened.taken())


class MistralParser(_ArrayParser):
    """``[TOOL_CALLS][{"name": …, "arguments": {…}}]``, and since v11 ``[TOOL_CALLS]name[ARGS]{…}``."""

    marks = (_TOOL_CALLS, _ARGS, _CALL_ID)

    def __init__(self) -> None:
        super().__init__()
        self._value = JsonScan()

    def _step(self) -> bool:
        match self._at:
            case _At.MARKED:
                return self._marked()
            case _At.CALL:
                return self._read_call()
            case _At.BETWEEN:
                return self._array()
            case _At.ARGUMENTS:
                return self._arguments()
            case _:
                return self._text()

    def _text(self) -> bool:
        if self._said_until((_TOOL_CALLS,)) is None:
            return False
        self._at, self._opened = _At.MARKED, Parts(_TOOL_CALLS)
        return True

    def _marked(self) -> bool:
        self._opened.add(self._skip(""))
        if not self._buffer:
            return self._ended and self._give_up(self._opened.taken())
        if self._buffer.startswith("["):
            self._opened.add(self._take(1))
            self._at = _At.BETWEEN
            return True
        if self._buffer.startswith("{"):
            return self._open(CallScan(None))
        return self._named()

    def _named(self) -> bool:
        name = NAME.match(self._buffer)
        if name is None:
            return self._give_up(self._opened.taken())
        end = self._arguments_at(name.end())
        if end is None and not self._ended and len(self._buffer) <= _MAX_NAMED_CHARS:
            return False
        if end is None or not 0 <= end <= _MAX_NAMED_CHARS:
            return self._give_up(self._opened.taken())
        self._take(end)
        self._start_call(name[0])
        self._value, self._at = JsonScan(), _At.ARGUMENTS
        return True

    def _arguments_at(self, at: int) -> int | None:
        """Where the object behind a name begins; -1: there is none, None: more text will tell."""
        rest = self._buffer[at:].lstrip()
        if rest.startswith(_CALL_ID):
            end = rest.find(_ARGS, 0, _MAX_ID_END)
            if end < 0:
                return None if len(rest) < _MAX_ID_END else -1
            rest = rest[end:]
        if rest.startswith(_ARGS):
            rest = rest.removeprefix(_ARGS).lstrip()
        elif any(mark.startswith(rest) for mark in (_ARGS, _CALL_ID)):
            return None
        if not rest:
            return None
        return len(self._buffer) - len(rest) if rest.startswith("{") else -1

    def _arguments(self) -> bool:
        over = self._flow(self._value)
        if over:
            self._at = _At.TEXT
        return over


class RequiredParser(_ArrayParser):
    """An answer held to the schema of ``tool_choice: required``: an array of calls."""

    def __init__(self, known: frozenset[str] | None = None) -> None:
        super().__init__(known)
        self._at = _At.START

    def _step(self) -> bool:
        match self._at:
            case _At.START:
                return self._begin()
            case _At.CALL:
                return self._read_call()
            case _At.BETWEEN:
                return self._array()
            case _:
                self._say(self._take(len(self._buffer)))
                return False

    def _begin(self) -> bool:
        opens = self._opens_with("[")
        if opens:
            self._opened, self._at = Parts(self._take(1)), _At.BETWEEN
        return opens is not None


class NamedParser:
    """An answer held to the arguments of one function: all of it is the arguments."""

    marks: tuple[str, ...] = ()
    reasoning = False

    def __init__(self, name: str) -> None:
        self._name = name
        self._begun = False

    def feed(self, text: str) -> list[Piece]:
        """See ToolParser."""
        if not text:
            return []
        start: list[Piece] = [] if self._begun else [CallStart(self._name)]
        self._begun = True
        return [*start, CallArguments(text)]

    def finish(self) -> list[Piece]:
        """See ToolParser."""
        return []
