"""Who served when, by what was written to the API server and what the picker said of it; requests held
against both.

Nothing here is a matter of how fast anything is: the picker may take its time to hear that a pod is gone, but
from when it says so no request may go there.
"""

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
class Sight:
    """One look at the picker's page of workers."""

    asked_s: float
    answered_s: float
    addresses: frozenset[str]
    """Those it picked from at some time between the two."""


@dataclass(frozen=True, slots=True)
class Absence:
    """An address at which no pod of the pool serves, and the picker knows it."""

    address: str
    known_s: float
    """When the picker had said so."""
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
    """Fill it with what was written and seen, in order; an address serves nobody before the first word."""

    def __init__(self) -> None:
        self._changes: defaultdict[str, list[_Change]] = defaultdict(list)
        self._sights: list[Sight] = []

    def note(self, address: str, *, serves: bool, began_s: float, done_s: float) -> None:
        """A write after which a pod serves, or does not; said again it changes nothing."""
        changes = self._changes[address]
        if serves != (bool(changes) and changes[-1].serves):
            changes.append(_Change(serves, began_s, done_s))

    def saw(self, sight: Sight) -> None:
        """What the picker said."""
        self._sights.append(sight)

    def absences(self, addresses: Iterable[str]) -> Iterator[Absence]:
        """Those that the picker had heard of before they were over."""
        for address in addresses:
            known_s = -inf
            for change in self._changes[address]:
                if change.serves and known_s < change.began_s:
                    yield Absence(address, known_s, change.began_s)
                if not change.serves:
                    known_s = self._known_s(address, change.done_s, self._back_s(address, change.done_s))
            if not self._changes[address] or not self._changes[address][-1].serves:
                yield Absence(address, known_s, inf)

    def _back_s(self, address: str, gone_s: float) -> float:
        """When a pod begins to come back there."""
        later = (c.began_s for c in self._changes[address] if c.serves and c.began_s >= gone_s)
        return next(later, inf)

    def _known_s(self, address: str, gone_s: float, until_s: float) -> float:
        """From when on the picker no longer named it; infinity: it did so all the time."""
        known_s = inf
        for sight in self._sights:
            if gone_s < sight.asked_s and sight.answered_s < until_s:
                known_s = inf if address in sight.addresses else min(known_s, sight.answered_s)
        return known_s
