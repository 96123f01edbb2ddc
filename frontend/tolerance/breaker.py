"""A circuit breaker per worker: after failures in a row it is left alone, then one request tries it again."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

_MAX_WORKERS: Final = 8192
"""Bound of workers remembered; only failing ones are."""


@dataclass(slots=True)
class _State:
    failures: int = 0
    """In a row."""
    closed_until_s: float | None = None
    """Left alone until then, monotonic; None: in use."""
    tried_s: float | None = None
    """When one request was sent to find out; None: nobody is out."""


class Breakers:
    """Implements :class:`frontend.pipeline.components.WorkerHealth`."""

    def __init__(
        self,
        *,
        failures: int,
        open_s: float,
        clock: Callable[[], float],
        changed: Callable[[int, bool], None] = lambda _worker_id, _open: None,
    ) -> None:
        """``failures`` in a row open the circuit, 0 never does; ``changed(worker_id, open)`` is told of each
        change."""
        self._failures = failures
        self._open_s = open_s
        self._clock = clock
        self._changed = changed
        self._states: dict[int, _State] = {}

    def usable(self, worker_id: int) -> bool:
        """See WorkerHealth: in use, or due to be tried while nobody is out trying."""
        state = self._states.get(worker_id)
        if state is None or state.closed_until_s is None:
            return True
        now_s = self._clock()
        if now_s < state.closed_until_s:
            return False
        return state.tried_s is None or now_s >= state.tried_s + self._open_s

    def all_usable(self) -> bool:
        """See WorkerHealth: only workers that have failed lately are looked at."""
        return not self._states or all(map(self.usable, self._states))

    def sent(self, worker_id: int) -> None:
        """See WorkerHealth."""
        state = self._states.get(worker_id)
        if state is not None and state.closed_until_s is not None:
            state.tried_s = self._clock()

    def succeeded(self, worker_id: int) -> None:
        """See WorkerHealth."""
        state = self._states.pop(worker_id, None)
        if state is not None and state.closed_until_s is not None:
            self._changed(worker_id, False)

    def failed(self, worker_id: int) -> None:
        """See WorkerHealth."""
        if not self._failures:
            return
        if worker_id not in self._states and len(self._states) >= _MAX_WORKERS:
            return
        state = self._states.setdefault(worker_id, _State())
        state.failures += 1
        if state.failures < self._failures and state.closed_until_s is None:
            return
        if state.closed_until_s is None:
            self._changed(worker_id, True)
        state.closed_until_s = self._clock() + self._open_s
        state.tried_s = None

    def keep_only(self, worker_ids: Iterable[int]) -> None:
        """Forget workers that are gone: whoever comes back under an old id begins anew."""
        here = set(worker_ids)
        for worker_id in [w for w in self._states if w not in here]:
            if self._states.pop(worker_id).closed_until_s is not None:
                self._changed(worker_id, False)

    @property
    def open_circuits(self) -> tuple[int, ...]:
        """Workers left alone now or on trial, for pages."""
        return tuple(w for w, state in self._states.items() if state.closed_until_s is not None)
