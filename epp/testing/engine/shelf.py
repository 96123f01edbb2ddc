"""KV that one engine has computed and another one will pull: what is known of it, and for how long.

Only facts move, no KV: how many tokens there are and a digest of them, so that an engine notices when it was
handed what belongs to another prompt. A real engine would go on and talk nonsense.
"""

import asyncio
from dataclasses import dataclass, field

import xxhash

from epp.testing.engine.ids import TokenIds


@dataclass(frozen=True, slots=True)
class Parked:
    """The KV of one prompt."""

    tokens: int
    digest: str

    @classmethod
    def of(cls, prompt: TokenIds) -> "Parked":
        """What is parked after ``prompt`` was computed."""
        return cls(len(prompt), xxhash.xxh3_64_hexdigest(prompt.tobytes()))


@dataclass(eq=False, slots=True)
class _Place:
    parked: Parked | None = None
    filled: asyncio.Event = field(default_factory=asyncio.Event)
    emptied: asyncio.Event = field(default_factory=asyncio.Event)


class Shelf:
    """Parked KV by key; each key is given once, and dropped ``lease_s`` after it was parked."""

    def __init__(self, lease_s: float) -> None:
        self._lease_s = lease_s
        self._places: dict[str, _Place] = {}
        self.parked = 0
        self.taken = 0
        self.expired = 0

    def put(self, key: str, parked: Parked) -> None:
        """Park; whoever waits for the key goes on."""
        place = self._places.setdefault(key, _Place())
        place.parked = parked
        place.filled.set()
        self.parked += 1
        asyncio.get_running_loop().call_later(self._lease_s, self._expire, key, place)

    async def take(self, key: str, wait_s: float = 0.0) -> Parked | None:
        """What is parked under ``key``, now or within ``wait_s``; None: nothing."""
        if not wait_s and key not in self._places:
            return None
        place = self._places.setdefault(key, _Place())
        try:
            async with asyncio.timeout(wait_s or None):
                await place.filled.wait()
        except TimeoutError:
            self._forget(key, place)
            return None
        self._forget(key, place)
        place.emptied.set()
        self.taken += 1
        return place.parked

    async def until_taken(self, key: str) -> bool:
        """Wait until what was just parked under ``key`` is gone; False if nobody came within the lease."""
        place = self._places.get(key)
        if place is None:
            return True
        try:
            async with asyncio.timeout(self._lease_s):
                await place.emptied.wait()
        except TimeoutError:
            return False
        return True

    def _expire(self, key: str, place: _Place) -> None:
        if not place.emptied.is_set() and self._places.get(key) is place:
            del self._places[key]
            self.expired += 1

    def _forget(self, key: str, place: _Place) -> None:
        if self._places.get(key) is place:
            del self._places[key]
