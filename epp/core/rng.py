"""Seeded randomness that every implementation of the router reproduces bit for bit.

splitmix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014): one u64 of
state, no failure modes, ten lines in any language.
"""

_MASK = (1 << 64) - 1


class SplitMix64:
    """A stream of u64 from one u64 seed."""

    __slots__ = ("_state",)

    def __init__(self, seed: int) -> None:
        self._state = seed & _MASK

    def next_u64(self) -> int:
        """The next value, 0 .. 2^64 - 1."""
        self._state = (self._state + 0x9E3779B97F4A7C15) & _MASK
        z = self._state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
        return z ^ (z >> 31)

    def below(self, n: int) -> int:
        """A value in 0 .. n - 1 by modulo (the bias is below n / 2^64)."""
        return self.next_u64() % n

    def unit(self) -> float:
        """A float in [0, 1): the top 53 bits."""
        return (self.next_u64() >> 11) * 2.0**-53
