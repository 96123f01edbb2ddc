"""Formats that put functions and parameters in tags.

- Qwen3-Coder: ``<tool_call><function=name><parameter=key>value</parameter></function></tool_call>``;
- MiniMax M2: ``<minimax:tool_call><invoke name="…"><parameter name="key">value</parameter></invoke>…``;
- DeepSeek V3.2 and V4: the same in tags of their own, with ``string="true"`` beside a parameter's name. They
  are written with U+FF5C for a bar.
"""

from collections.abc import Mapping
from enum import Enum, auto
from typing import Any, Final, NamedTuple

from frontend.postprocess.tools.base import MAX_HEAD_CHARS, NAME, Parts
from frontend.postprocess.tools.typed import TypedParser


class TagForm(NamedTuple):
    """The tags of one format; those that open hold everything before the name."""

    outer: tuple[str, ...]
    outer_end: tuple[str, ...]
    call: str
    call_end: str
    parameter: str
    parameter_end: str
    tokens: tuple[str, ...] = ()
    """Special tokens within the tags."""
    on_own_lines: bool = True
    """A line end at either end of a value belongs to the format."""


_DSML: Final = "\uff5cDSML\uff5c"
QWEN3_CODER: Final = TagForm(
    ("<tool_call>",), ("</tool_call>",), "<function=", "</function>", "<parameter=", "</parameter>"
)
MINIMAX_M2: Final = TagForm(
    *(("<minimax:tool_call>",), ("</minimax:tool_call>",)),
    *('<invoke name="', "</invoke>", '<parameter name="', "</parameter>"),
)
DEEPSEEK_V32: Final = TagForm(
    (f"<{_DSML}function_calls>", f"<{_DSML}tool_calls>"),
    (f"</{_DSML}function_calls>", f"</{_DSML}tool_calls>"),
    *(f'<{_DSML}invoke name="', f"</{_DSML}invoke>"),
    *(f'<{_DSML}parameter name="', f"</{_DSML}parameter>"),
    tokens=(_DSML,),
    on_own_lines=False,
)


class _At(Enum):
    TEXT = auto()
    OPENED = auto()
    FUNCTION = auto()
    PARAMETERS = auto()
    KEY = auto()
    VALUE = auto()
    CLOSING = auto()


class TagParser(TypedParser):
    """One of these formats."""

    def __init__(self, form: TagForm, schemas: Mapping[str, Mapping[str, Any]] | None = None) -> None:
        super().__init__(schemas)
        self.marks = (*form.outer, *form.outer_end, *form.tokens)
        self._form = form
        self._at = _At.TEXT
        self._opened = Parts()
        self._key = ""
        self._is_said_text: bool | None = None
        self._steps = {
            _At.TEXT: self._text,
            _At.OPENED: self._inner,
            _At.FUNCTION: self._name,
            _At.PARAMETERS: self._next,
            _At.KEY: self._key_name,
            _At.VALUE: self._value,
            _At.CLOSING: self._close,
        }

    def _step(self) -> bool:
        return self._steps[self._at]()

    def _text(self) -> bool:
        mark = self._said_until((*self._form.outer, self._form.call))
        if mark is None:
            return False
        self._opened = Parts(mark)
        self._at = _At.FUNCTION if mark == self._form.call else _At.OPENED
        return True

    def _inner(self) -> bool:
        call = self._form.call
        self._opened.add(self._skip_space())
        if self._unsure(call):
            return False
        if not self._buffer.startswith(call):
            return self._give_up()
        self._opened.add(self._take(len(call)))
        self._at = _At.FUNCTION
        return True

    def _name(self) -> bool:
        end = self._buffer.find(">", 0, MAX_HEAD_CHARS)
        if end < 0 and len(self._buffer) < MAX_HEAD_CHARS and not self._ended:
            return False
        name = self._buffer[: max(0, end)].partition('"')[0]
        if NAME.fullmatch(name) is None:
            return self._give_up()
        self._take(end + 1)
        self._at = _At.PARAMETERS
        self._begin(name)
        return True

    def _next(self) -> bool:
        """A parameter, or the end; anything else between them is nobody's."""
        mark = self._dropped_until((self._form.parameter, self._form.call_end))
        if mark is None and not self._ended:
            return False
        if mark != self._form.parameter:
            return self._end()
        self._at = _At.KEY
        return True

    def _key_name(self) -> bool:
        end = self._buffer.find(">", 0, MAX_HEAD_CHARS)
        if end < 0:
            return self._no_key()
        self._key, _, more = self._take(end).partition('"')
        self._is_said_text = {'string="true"': True, 'string="false"': False}.get(more.strip())
        self._take(1)
        self._at = _At.VALUE
        return True

    def _no_key(self) -> bool:
        """Not yet, or, if it is too long for one, not at all: then it is nobody's."""
        late = len(self._buffer) >= MAX_HEAD_CHARS
        if late:
            self._at = _At.PARAMETERS
        return late

    def _value(self) -> bool:
        form = self._form
        ends = (form.parameter_end, form.parameter, form.call_end)
        mark = self._passed_until(ends, self._collected.add)
        if mark is None:
            return self._no_value()
        value = self._collected.taken()
        if mark == form.parameter_end:
            self._take(len(mark))
        if form.on_own_lines:
            value = value.removeprefix("\n").removesuffix("\n")
        self._put(self._key, value, is_text=self._is_said_text)
        self._at = _At.PARAMETERS
        return True

    def _end(self) -> bool:
        self._close_arguments()
        self._at = _At.CLOSING
        return True

    def _close(self) -> bool:
        self._skip_space()
        if any(self._unsure(end) for end in self._form.outer_end):
            return False
        ends = [end for end in self._form.outer_end if self._buffer.startswith(end)]
        if ends:
            self._take(len(ends[0]))
        self._at = _At.TEXT
        return True

    def _unsure(self, mark: str) -> bool:
        return not self._ended and self._may_be(mark)

    def _give_up(self) -> bool:
        self._say(self._opened.taken())
        self._at = _At.TEXT
        return True
