"""Finds ranks that are sent prompts and never say what became of them.

A picker that hears nothing from a worker scores it as empty forever, and nothing else shows why: the wrong
port, events switched off in the engine, a firewall. Prompts that are sent start a clock per rank, any event
stops it, and a clock that runs too long is reported once.
"""

from epp.core.endpoints import WorkerRank


class SilenceWatch:
    """No I/O; time is an argument."""

    def __init__(self, silent_after_s: float) -> None:
        self._silent_after_s = silent_after_s
        self._unanswered_s: dict[WorkerRank, float] = {}
        """When the first prompt since the last event was sent."""
        self._silent: set[WorkerRank] = set()

    @property
    def silent_ranks(self) -> int:
        """How many ranks are silent now."""
        return len(self._silent)

    def sent(self, target: WorkerRank, now_s: float) -> None:
        """A prompt that should store blocks went to this rank."""
        self._unanswered_s.setdefault(target, now_s)

    def heard(self, target: WorkerRank) -> bool:
        """An event came; whether the rank had been reported silent."""
        self._unanswered_s.pop(target, None)
        if target not in self._silent:
            return False
        self._silent.discard(target)
        return True

    def newly_silent(self, now_s: float) -> tuple[WorkerRank, ...]:
        """Ranks to report now, each once until it is heard again."""
        overdue = tuple(
            target
            for target, since_s in self._unanswered_s.items()
            if now_s - since_s >= self._silent_after_s and target not in self._silent
        )
        self._silent.update(overdue)
        return overdue

    def forget(self, target: WorkerRank) -> None:
        """The rank left the pool."""
        self._unanswered_s.pop(target, None)
        self._silent.discard(target)
