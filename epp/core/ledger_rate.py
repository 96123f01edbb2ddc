"""How fast a rank computes prompts, learnt from prompts it finished (``docs/algorithms.md`` 3.5)."""

_MEMORY = 0.95
"""Weight kept by what is known when a sample arrives: about the last twenty prompts count."""
_MIN_SAMPLES = 3
_STUCK = 8.0
"""A sample slower than the learnt rate by more than this factor is cut to it."""


class PrefillRate:
    """An online ratio of tokens computed to seconds taken, both fading alike."""

    __slots__ = ("_samples", "_seconds", "_tokens")

    def __init__(self) -> None:
        self._tokens = 0.0
        self._seconds = 0.0
        self._samples = 0

    @property
    def tokens_per_s(self) -> float:
        """The learnt rate; 0: not learnt yet."""
        if self._samples < _MIN_SAMPLES or self._seconds <= 0.0:
            return 0.0
        return self._tokens / self._seconds

    def learn(self, tokens: int, seconds: float) -> None:
        """A prompt with ``tokens`` uncached took ``seconds`` from its turn in the queue to its end.

        0 s is a fair sample: prompts that end in one engine step were computed together.
        """
        known = self.tokens_per_s
        if known > 0.0:
            seconds = min(seconds, _STUCK * tokens / known)
        self._tokens = _MEMORY * self._tokens + tokens
        self._seconds = _MEMORY * self._seconds + seconds
        self._samples += 1
