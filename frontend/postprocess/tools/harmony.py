"""gpt-oss's harmony: an answer is messages, each on a channel.

``<|channel|>analysis<|message|>…<|end|><|start|>assistant<|channel|>commentary to=functions.name
<|constrain|>json<|message|>{…}<|call|>``. The channel ``analysis`` is reasoning, ``final`` the answer, and
what ``commentary`` addresses to a function is a call; without an addressee it is said to the reader. The
prompt ends within the first message's head. (https://cookbook.openai.com/articles/openai-harmony)
"""

import re
from typing import Final

from frontend.postprocess.pieces import CallArguments, Content, Piece, Reasoning
from frontend.postprocess.tools.base import MAX_HEAD_CHARS, BlockParser

_START: Final = "<|start|>"
CHANNEL: Final = "<|channel|>"
_CONSTRAIN: Final = "<|constrain|>"
_MESSAGE: Final = "<|message|>"
_ENDS: Final = ("<|end|>", "<|call|>", "<|return|>", _START)
_HEAD_BEGINS: Final = (_START, CHANNEL, " to=", "to=")
_ADDRESSEE: Final = re.compile(r"\bto=functions\.(?P<name>[A-Za-z0-9_.:/-]{1,256})")
_ON_CHANNEL: Final = re.compile(r"<\|channel\|>\s*(?P<channel>\w+)")
_TO_READER: Final = frozenset({"final", "commentary"})


class HarmonyParser(BlockParser):
    """Reasoning, text and calls at once; marks are the format's and are never text."""

    marks = (_START, CHANNEL, _CONSTRAIN, _MESSAGE, *_ENDS)

    def __init__(self) -> None:
        super().__init__(None)
        self._in_head = True
        self._begun = False
        self._make: type[Content | Reasoning | CallArguments] = Content

    @property
    def reasoning(self) -> bool:
        """See ToolParser."""
        return not self._in_head and self._make is Reasoning

    def finish(self) -> list[Piece]:
        """See ToolParser: what is left of a head is none of the answer."""
        self._ended = True
        self._run_into()
        return self._taken()

    def _step(self) -> bool:
        return self._head() if self._in_head else self._body()

    def _head(self) -> bool:
        if not self._begun and not self._begins():
            return False
        if not self._in_head:
            return True
        at = self._buffer.find(_MESSAGE, 0, MAX_HEAD_CHARS)
        if at < 0:
            if len(self._buffer) >= MAX_HEAD_CHARS:  # no head of any kind: let it be seen
                self._open(Content)
                return True
            return False
        head = self._take(at)
        self._take(len(_MESSAGE))
        self._read(head)
        return True

    def _begins(self) -> bool:
        """Whether it is known how the answer begins: with a head, or, held to a grammar, with its text."""
        if any(mark.startswith(self._buffer) for mark in _HEAD_BEGINS) and not self._ended:
            return False
        self._begun = True
        if self._buffer and not self._buffer.startswith(_HEAD_BEGINS):
            self._open(Content)
        return True

    def _read(self, head: str) -> None:
        addressee = _ADDRESSEE.search(head)
        channel = _ON_CHANNEL.search(head)
        if addressee is not None:
            self._start_call(addressee["name"])
            self._open(CallArguments)
        elif channel is not None and channel["channel"] in _TO_READER and "to=" not in head:
            self._open(Content)
        else:
            self._open(Reasoning)  # also what the model says to tools of its own

    def _open(self, make: type[Content] | type[Reasoning] | type[CallArguments]) -> None:
        self._make, self._in_head = make, False

    def _body(self) -> bool:
        mark = self._passed_until(_ENDS, self._pass)
        if mark is None:
            return False
        self._take(len(mark))
        self._in_head = self._begun = True
        return True

    def _pass(self, text: str) -> None:
        if text:
            self._out.append(self._make(text))
