"""Who served when, by what was written to the API server; and requests held against it."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import inf


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request. All times are of one monotonic clock."""

    number: int
    sent_s: float
    ended_s: float
    outcome: str
    """The status code, or what went wrong instead."""


@dataclass(frozen=True, slots=True)
class Absence:
    """An address at which no pod of the pool serves."""

    address: str
    known_s: float
    """When the picker has to have heard of it."""
    until_s: float
    """When a pod of the pool began to be made ready there."""

    def covers(self, exchange: Exchange) -> bool:
        """Whether the whole request lies in it: had it been served here, it would have been misrouted."""
        return self.known_s < exchange.sent_s and exchange.ended_s < self.until_s


@dataclass(frozen=True, slots=True)
class _Change:
    serves: bool
    began_s: float
    done_s: float
    """When the API server had said that it is written, so that everybody could see it."""


class Timeline:
    """Fill it with what was written, in order; an address serves nobody before the first word of it."""

    def __init__(self) -> None:
        self._changes: defaultdict[str, list[_Change]] = defaultdict(list)
        self._outages: list[tuple[float, float]] = []

    def note(self, address: str, *, serves: bool, began_s: float, done_s: float) -> None:
        """A write after which a pod serves, or does not; said again it changes nothing."""
        changes = self._changes[address]
        if serves != (bool(changes) and changes[-1].serves):
            changes.append(_Change(serves, began_s, done_s))

    def note_outage(self, began_s: float, over_s: float) -> None:
        """Nobody could hear of anything: what was written in it, or just before, counts from its end."""
        self._outages.append((began_s, over_s))

    def absences(self, addresses: Iterable[str], delay_s: float) -> Iterator[Absence]:
        """Those that last longer than the delay."""
        for address in addresses:
            known_s = -inf
            for change in self._changes[address]:
                if not change.serves:
                    known_s = self._heard_s(change.done_s, delay_s) + delay_s
                elif known_s < change.began_s:
                    yield Absence(address, known_s, change.began_s)
            if not self._changes[address] or not self._changes[address][-1].serves:
                yield Absence(address, known_s, inf)

    def _heard_s(self, done_s: float, delay_s: float) -> float:
        return max(
            [done_s, *(over_s for began_s, over_s in self._outages if began_s - delay_s < done_s < over_s)]
        )
