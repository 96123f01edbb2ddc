"""One ext_proc stream as a state machine: events in, actions out, no I/O.

The theory of operation and the tables are in :mod:`epp.core.exchange_states`. A door makes one
:class:`Exchange` per stream, feeds it what the gateway sends and what the engine answers, and does what
it is told, in order::

    for action in exchange.receive(event):
        ...

The exchange never raises for anything a gateway does, and returns exactly one
:class:`~epp.core.events.Finish` for every :class:`~epp.core.outcomes.Picked` it was given.
"""

from collections.abc import Callable
from typing import Final

from epp.config.model import ServerConfig
from epp.core.events import (
    Action,
    BodyLate,
    BodyMode,
    CancelPick,
    Close,
    DetachWanted,
    Event,
    Fault,
    Finish,
    Pick,
    PickReturned,
    RequestBody,
    RequestHeaders,
    RequestTrailers,
    ResponseBody,
    ResponseHeaders,
    ResponseTrailers,
    StreamEnded,
    Unreadable,
)
from epp.core.exchange_request import RequestSide
from epp.core.exchange_response import ResponseEvent, ResponseSide
from epp.core.exchange_states import REQUEST_TABLE, ResponseState, Signal, State, Step
from epp.core.headers import settable
from epp.core.outcomes import Ending, Picked, Refused
from epp.core.refusal import immediate, out_of_order
from epp.core.restoring import Restorer

_ASKED: Final = (State.PICKING, State.PICKING_OPEN)
_UNSTEERED: Final = (State.START, State.COLLECT, State.HOLD, *_ASKED)


class Exchange:
    """One stream; not thread-safe, one owner."""

    __slots__ = (
        "_ending_if_late",
        "_picked",
        "_request",
        "_response",
        "_restorer_of",
        "_skip_response",
        "_state",
    )

    def __init__(
        self,
        config: ServerConfig,
        shed: Refused | None = None,
        restorer_of: Callable[[str], Restorer] | None = None,
    ) -> None:
        """``shed``: refuse the request as soon as it shows (the door is full or closing). ``restorer_of``
        makes what puts a client's name of its model back into one answer; None: answers pass as they are."""
        self._state = State.START
        self._request = RequestSide(config, shed)
        self._response = ResponseSide(observe=config.observe_response, conformance=config.conformance)
        self._skip_response = config.skip_response
        self._restorer_of = restorer_of
        self._picked: Picked | None = None
        self._ending_if_late = Ending.ERROR

    @property
    def state(self) -> State:
        """Where the request side is."""
        return self._state

    @property
    def undecided(self) -> bool:
        """Whether the gateway has not told its body mode and might be waiting for the head's answer.

        While it is so a door waits only briefly for the next message, then sends :class:`BodyLate`.
        """
        return self._state is State.COLLECT and not (self._request.mode_told or self._request.has_body)

    def receive(self, event: Event) -> list[Action]:
        """What to do about ``event``, in order; total over every state."""
        if isinstance(event, ResponseHeaders | ResponseBody | ResponseTrailers):
            return self._receive_response(event)
        if isinstance(event, Unreadable):
            return self._fault("unreadable")
        actions = self._advance(self._classify(event), event)
        if self._skip_response and self._state is State.STEERED:
            actions += self._advance(self._detach_signal(), event)
        return actions

    # --- driving the tables --------------------------------------------------------------------------------

    def _advance(self, signal: Signal, event: Event) -> list[Action]:
        transition = REQUEST_TABLE[self._state].get(signal)
        if transition is None:
            return self._fault("out-of-order")
        before, self._state = self._state, transition.to
        return _STEPS[transition.step](self, event, before)

    def _classify(self, event: Event) -> Signal:
        if isinstance(event, RequestHeaders | RequestBody | RequestTrailers):
            return self._request.classify(event, self._state)
        if isinstance(event, PickReturned):
            return Signal.PICKED if isinstance(event.outcome, Picked) else Signal.REFUSED
        if isinstance(event, StreamEnded):
            return Signal.ENDED
        if isinstance(event, DetachWanted):
            return self._detach_signal()
        return Signal.LATE if self.undecided else Signal.IDLE

    def _receive_response(self, event: ResponseEvent) -> list[Action]:
        if self._state is State.CLOSED:
            return []
        actions = self._advance(Signal.RESPONSE, event)
        answers = self._response.receive(event, self._picked.destinations[0] if self._picked else None)
        if answers is None:
            return actions + self._fault("out-of-order")
        actions += answers
        if self._response.state is ResponseState.DONE:
            self._state = State.CLOSED
            actions += [*self._finish(Ending.COMPLETED), Close()]
        return actions

    def _detach_signal(self) -> Signal:
        return Signal.DETACH if self._response.may_be_left else Signal.IDLE

    # --- steps (named by the table) ------------------------------------------------------------------------

    def _ignore(self, _event: Event, _before: State) -> list[Action]:
        return []

    def _keep(self, event: Event, _before: State) -> list[Action]:
        if isinstance(event, RequestHeaders):
            self._take_modes(event)
        return []

    def _allow_head(self, event: Event, _before: State) -> list[Action]:
        if isinstance(event, RequestHeaders):
            self._take_modes(event)
        elif isinstance(event, BodyLate):
            self._request.mode, self._response.duplex = BodyMode.BUFFERED, False
        return self._request.allow_head()

    def _ask(self, _event: Event, _before: State) -> list[Action]:
        return [Pick(self._request.question(with_body=True))]

    def _ask_from_head(self, event: Event, _before: State) -> list[Action]:
        if isinstance(event, RequestHeaders):
            self._take_modes(event)
        return [Pick(self._request.question(with_body=False))]

    def _steer(self, event: Event, _before: State) -> list[Action]:
        assert isinstance(event, PickReturned)
        assert isinstance(event.outcome, Picked)
        self._picked = event.outcome
        self._response.headers_for_client = settable(event.outcome.response_headers)
        if event.outcome.client_model is not None and self._restorer_of is not None:
            self._response.restore(self._restorer_of(event.outcome.client_model))
        return self._request.answers(event.outcome)

    def _forward(self, event: Event, _before: State) -> list[Action]:
        assert isinstance(event, RequestBody | RequestTrailers)
        return self._request.forward(event)

    def _refuse(self, event: Event, before: State) -> list[Action]:
        if isinstance(event, PickReturned):
            assert isinstance(event.outcome, Refused)
            return [immediate(event.outcome), Close()]
        refused = self._request.refusal
        assert refused is not None
        return [*([CancelPick()] if before in _ASKED else []), immediate(refused), Close()]

    def _cancel(self, event: Event, _before: State) -> list[Action]:
        if isinstance(event, StreamEnded):
            self._ending_if_late = Ending.CLIENT_GONE
        return [CancelPick()]

    def _finish_late(self, event: Event, _before: State) -> list[Action]:
        assert isinstance(event, PickReturned)
        assert isinstance(event.outcome, Picked)
        self._picked = event.outcome
        return self._finish(self._ending_if_late)

    def _end(self, event: Event, before: State) -> list[Action]:
        assert isinstance(event, StreamEnded)
        if self._response.state is ResponseState.AWAITED:
            asked_no_response = event.clean and before is State.STEERED
            return self._finish(Ending.DETACHED if asked_no_response else Ending.CLIENT_GONE)
        return self._finish(Ending.CLIENT_GONE if self._response.bodies_expected else Ending.COMPLETED)

    def _detach(self, _event: Event, _before: State) -> list[Action]:
        return [*self._finish(Ending.DETACHED), Close()]

    # --- endings -------------------------------------------------------------------------------------------

    def _take_modes(self, event: RequestHeaders) -> None:
        if event.modes is not None:
            self._response.take_modes(event.modes)

    def _finish(self, ending: Ending) -> list[Action]:
        picked, self._picked = self._picked, None
        return [Finish(picked, ending, self._response.facts())] if picked is not None else []

    def _fault(self, kind: str) -> list[Action]:
        """The gateway broke the order: say so if the client can still be told, and end."""
        before, self._state = self._state, State.CLOSED
        if before is State.CLOSED:
            return []
        actions: list[Action] = [Fault(kind)]
        if before in _ASKED:
            actions.append(CancelPick())
        if before in _UNSTEERED and self._response.state is ResponseState.AWAITED:
            actions.append(immediate(out_of_order()))
        return [*actions, *self._finish(Ending.ERROR), Close()]


_STEPS: Final[dict[Step, Callable[[Exchange, Event, State], list[Action]]]] = {
    step: getattr(Exchange, "_" + step.value.replace("-", "_")) for step in Step
}
"""Each step of the table is the method of its name."""
