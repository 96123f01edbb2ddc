"""Label values from the outside, with a bound on how many of them become series."""

OTHER = "other"
"""What values beyond the bound are counted as."""

_MAX_VALUE_CHARS = 256


class BoundedLabels:
    """Lets the first ``limit`` distinct values through and calls the rest :data:`OTHER`."""

    def __init__(self, limit: int = 1000) -> None:
        self._limit = limit
        self._seen: set[str] = set()

    def __call__(self, value: str) -> str:
        """The value to use as a label."""
        if value in self._seen:
            return value
        if len(self._seen) >= self._limit or len(value) > _MAX_VALUE_CHARS:
            return OTHER
        self._seen.add(value)
        return value
