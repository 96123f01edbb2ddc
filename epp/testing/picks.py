"""A picker engine that does as it is told: for tests of doors, and for measuring them alone."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from epp.core.outcomes import Ending, Picked, PickInput, PickOutcome, ResponseFacts


@dataclass(slots=True)
class FinishedPick:
    """One ``finish`` call."""

    picked: Picked
    ending: Ending
    facts: ResponseFacts


@dataclass(slots=True)
class ScriptedEngine:
    """Answers every pick with ``answer`` and keeps count of what was not finished."""

    answer: Callable[[PickInput], PickOutcome]
    delay_s: float = 0.0
    """Time each pick takes."""
    gate: asyncio.Event | None = None
    """Picks answer only once it is set; None: at once."""
    requests: list[PickInput] = field(default_factory=list[PickInput])
    finished: list[FinishedPick] = field(default_factory=list[FinishedPick])
    cancelled: int = 0
    """Picks cancelled before they answered."""
    _open: dict[int, Picked] = field(default_factory=dict[int, Picked])

    @property
    def unfinished(self) -> int:
        """Picks that came back and have not been finished."""
        return len(self._open)

    async def pick(self, request: PickInput) -> PickOutcome:
        """The scripted answer, after ``delay_s``."""
        self.requests.append(request)
        try:
            await self._wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        outcome = self.answer(request)
        if isinstance(outcome, Picked):
            self._open[id(outcome)] = outcome
        return outcome

    async def _wait(self) -> None:
        if self.delay_s:
            await asyncio.sleep(self.delay_s)
        if self.gate is not None:
            await self.gate.wait()

    def finish(self, picked: Picked, ending: Ending, facts: ResponseFacts) -> None:
        """Note the ending; raises KeyError for a pick that is not open, so ending twice shows."""
        del self._open[id(picked)]
        self.finished.append(FinishedPick(picked, ending, facts))


def always(*destinations: str) -> Callable[[PickInput], Picked]:
    """Answers every request with the same destinations, as a new :class:`Picked` each time."""

    def answer(request: PickInput) -> Picked:
        return Picked(destinations=destinations, request_id=request.request_id)

    return answer
