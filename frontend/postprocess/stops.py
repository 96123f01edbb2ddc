"""Stop strings across token borders."""

from collections.abc import Sequence


def held_chars(text: str, marks: Sequence[str]) -> int:
    """Length of the longest end of ``text`` that is a proper beginning of one of ``marks``: what may turn out
    to be a mark, and so must not be shown yet."""
    longest = 0
    for mark in marks:
        for length in range(min(len(mark) - 1, len(text)), longest, -1):
            if text.endswith(mark[:length]):
                longest = length
                break
    return longest


class StopScanner:
    """Passes text on until a stop string is complete; holds back only what may become one.

    The stop string that ends first wins, and of those that end together the one given first, as in vLLM.
    """

    __slots__ = ("_held", "_include", "_stops", "found")

    def __init__(self, stops: Sequence[str], *, include: bool) -> None:
        self._stops = tuple(stop for stop in stops if stop)
        self._include = include
        self._held = ""
        self.found: str | None = None
        """The stop string that was met."""

    def feed(self, text: str, *, armed: bool = True) -> str:
        """What of the text so far may be shown. ``armed`` false: a stop within it does not count yet
        (fewer tokens than ``min_tokens``)."""
        if not self._stops or self.found is not None:
            return "" if self.found is not None else text
        whole = self._held + text
        end, start, stop = self._first(whole, len(self._held)) if armed else (-1, -1, "")
        if end >= 0:
            self.found, self._held = stop, ""
            return whole[: end if self._include else start]
        keep = held_chars(whole, self._stops)
        self._held = whole[len(whole) - keep :]
        return whole[: len(whole) - keep]

    def finish(self) -> str:
        """What was held, when nothing follows."""
        rest, self._held = self._held, ""
        return rest

    def _first(self, text: str, old_chars: int) -> tuple[int, int, str]:
        """Where the first stop string ends and starts; it ends behind the first ``old_chars``."""
        best = (-1, -1, "")
        for stop in self._stops:
            start = text.find(stop, max(0, old_chars - len(stop) + 1))
            end = start + len(stop)
            if start >= 0 and (best[0] < 0 or end < best[0]):
                best = (end, start, stop)
        return best
