"""What the door needs of the rest of the picker."""

from typing import Protocol

from epp.core.outcomes import Ending, Picked, PickInput, PickOutcome, ResponseFacts


class PickEngine(Protocol):
    """Chooses endpoints and keeps account of what it chose."""

    async def pick(self, request: PickInput) -> PickOutcome:
        """Choose for one request. Cancelled when the client leaves meanwhile.

        Every :class:`Picked` that comes back is given to :meth:`finish` exactly once, so an engine that is
        cancelled after booking must undo the booking itself.
        """
        ...

    def finish(self, picked: Picked, ending: Ending, facts: ResponseFacts) -> None:
        """The request is over; never blocks, called exactly once per :class:`Picked`."""
        ...
