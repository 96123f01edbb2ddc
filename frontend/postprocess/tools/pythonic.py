"""Llama 3.2 and 4: the whole answer is a Python list of calls, ``[f(a=1), g(b="x")]``.

The list is read when it is complete: keyword values are Python literals, whose JSON form is known only then.
"""

import ast
import json
import re
import warnings
from typing import Any, Final

from frontend.postprocess.pieces import CallArguments, CallStart, Piece
from frontend.postprocess.tools.base import MAX_HEAD_CHARS, BlockParser

_HEAD: Final = re.compile(r"\[\s*(?:[A-Za-z_][\w.]*\s*(?:\(|\Z)|\Z)")
"""How such a list begins, as far as it has come."""
_MARKS: Final = re.compile(r"""[\[\](){}'"\\]""")
_MAX_CHARS: Final = 65536
"""A longer list is text: Python's parser is not meant for more."""


class PythonicParser(BlockParser):
    """``known`` are the functions of the request; other names make it text."""

    def __init__(self, known: frozenset[str] | None = None) -> None:
        super().__init__(known)
        self._decided = self._headed = False
        self._depth = self._at = 0
        self._quote = ""

    def _step(self) -> bool:
        if self._decided:
            self._say(self._take(len(self._buffer)))
            return False
        space = len(self._buffer) - len(self._buffer.lstrip())
        if space:
            self._say(self._take(space))
        if not self._buffer:
            return False
        if not self._headed and not self._has_head():
            return self._decide()
        end = self._end()
        if end is None:
            return (self._ended or len(self._buffer) > _MAX_CHARS) and self._decide()
        if end <= _MAX_CHARS:
            self._calls_in(end)
        return self._decide()

    def _has_head(self) -> bool:
        head = _HEAD.match(self._buffer)
        if head is None or head.end() > MAX_HEAD_CHARS:
            return False
        self._headed = head[0].endswith("(")
        return True

    def _decide(self) -> bool:
        self._decided = True
        return True

    def _end(self) -> int | None:
        """Where the list's last bracket is closed; continues where it stopped."""
        while (mark := _MARKS.search(self._buffer, self._at)) is not None:
            if mark[0] == "\\":
                if mark.end() == len(self._buffer):
                    return None
                self._at = mark.end() + 1
                continue
            self._at = mark.end()
            if self._quote:
                self._quote = "" if mark[0] == self._quote else self._quote
            elif mark[0] in "'\"":
                self._quote = mark[0]
            else:
                self._depth += 1 if mark[0] in "[({" else -1
                if self._depth == 0:
                    return self._at
        self._at = len(self._buffer)
        return None

    def _calls_in(self, end: int) -> None:
        pieces = _parse(self._buffer[:end], self._known)
        if pieces:
            self._take(end)
            self._call_began()
            self._out += pieces


def _parse(text: str, known: frozenset[str] | None) -> list[Piece] | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about escapes in the model's strings
            tree = ast.parse(text, mode="eval").body
        elements = tree.elts if isinstance(tree, ast.List) else []
        pieces: list[Piece] = []
        for element in elements:
            name, arguments = _call(element)
            if known is not None and name not in known:
                return None
            pieces += [CallStart(name), CallArguments(arguments)]
        return pieces
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
        return None


def _call(element: ast.expr) -> tuple[str, str]:
    if not isinstance(element, ast.Call) or element.args:
        raise ValueError("no call with keywords")
    arguments: dict[str, Any] = {}
    for keyword in element.keywords:
        if keyword.arg is None:
            raise ValueError("a starred keyword")
        arguments[keyword.arg] = ast.literal_eval(keyword.value)
    return ast.unparse(element.func), json.dumps(arguments, ensure_ascii=False, allow_nan=False)
