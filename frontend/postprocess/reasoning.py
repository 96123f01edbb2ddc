"""Tells reasoning from the answer by the marks around it."""

from typing import Final, NamedTuple

from frontend.postprocess.pieces import Content, Piece, Reasoning
from frontend.postprocess.stops import held_chars


class Marks(NamedTuple):
    """What a model writes around its reasoning."""

    start: str
    end: str


THINK: Final = Marks("<think>", "</think>")
MISTRAL_THINK: Final = Marks("[THINK]", "[/THINK]")


class ReasoningParser:
    """Reasoning stands at the beginning, in marks; ``inside``: the first one is in the prompt or understood.

    Everything between the marks is kept as written, line ends included. Behind the end all is content.
    """

    def __init__(self, marks: Marks, *, inside: bool) -> None:
        self._marks = marks
        self._buffer = ""
        self._blank: list[str] = []
        """White space that came before anything else."""
        self._begun = False
        """The place for a first mark is behind us."""
        self.inside = inside
        """In the middle of reasoning."""
        self._over = False

    def feed(self, text: str) -> list[Piece]:
        """What is certain with ``text`` that was not before."""
        self._buffer += text
        return self._read(ended=False)

    def finish(self) -> list[Piece]:
        """The rest, when nothing follows."""
        return self._read(ended=True)

    def _read(self, *, ended: bool) -> list[Piece]:
        if not self._begun and not self._begin(ended=ended):
            return []
        if self._over or not self.inside:
            return [Content(self._taken(len(self._buffer)))] if self._buffer else []
        end = self._marks.end
        at = self._buffer.find(end)
        if at < 0:
            keep = 0 if ended else held_chars(self._buffer, (end,))
            text = self._taken(len(self._buffer) - keep)
            return [Reasoning(text)] if text else []
        pieces: list[Piece] = [Reasoning(self._taken(at))] if at else []
        self._taken(len(end))
        self.inside, self._over = False, True
        return pieces + self._read(ended=ended)

    def _begin(self, *, ended: bool) -> bool:
        start = self._marks.start
        body = self._buffer.lstrip()
        if not ended and len(body) < len(start) and start.startswith(body):
            self._blank.append(self._taken(len(self._buffer) - len(body)))
            return False
        self._begun = True
        if body.startswith(start):
            self.inside = True
            self._buffer = body[len(start) :]
        else:
            self._buffer = "".join(self._blank) + self._buffer
        return True

    def _taken(self, chars: int) -> str:
        text, self._buffer = self._buffer[:chars], self._buffer[chars:]
        return text
