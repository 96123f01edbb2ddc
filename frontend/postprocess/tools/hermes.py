"""Hermes, Qwen 2.5 and 3: ``<tool_call>{"name": …, "arguments": {…}}</tool_call>``."""

from typing import Final

from frontend.postprocess.tools.base import BlockParser
from frontend.postprocess.tools.scan import CallScan

_OPEN: Final = "<tool_call>"
_CLOSE: Final = "</tool_call>"


class HermesParser(BlockParser):
    """Each call in tags of its own."""

    marks = (_OPEN, _CLOSE)

    def __init__(self, known: frozenset[str] | None = None) -> None:
        super().__init__(known)
        self._scan: CallScan | None = None
        self._closing = False

    def _step(self) -> bool:
        if self._closing:
            return self._close()
        if self._scan is not None:
            return self._read(self._scan)
        if self._said_until((_OPEN,)) is None:
            return False
        self._scan = CallScan(None)
        return True

    def _read(self, scan: CallScan) -> bool:
        begun = scan.started
        at = scan.feed(self._buffer, 0, self._out)
        self._take(at)
        if scan.started and not begun:
            self._call_began()
        if scan.failed or (self._ended and not scan.started):
            self._scan = None
            self._say(_OPEN + scan.held)
            return True
        self._closing = scan.done
        return scan.done

    def _close(self) -> bool:
        self._skip_space()
        if not self._buffer or (self._may_be(_CLOSE) and not self._ended):
            return False
        if self._buffer.startswith(_CLOSE):
            self._take(len(_CLOSE))
        self._scan, self._closing = None, False
        return True
