"""The tables themselves: complete, connected, and every step real."""

import pytest

from epp.core.exchange import Exchange
from epp.core.exchange_states import (
    REQUEST_TABLE,
    RESPONSE_TABLE,
    ResponseSignal,
    ResponseState,
    Signal,
    State,
    Step,
)

FAULTS = {
    State.START: {
        "BODY",
        "BODY_LAST",
        "BODY_TOO_LARGE",
        "AFTER_END",
        "TRAILERS",
        "LATE",
        "PICKED",
        "REFUSED",
    },
    State.COLLECT: {"AFTER_END", "PICKED", "REFUSED"},
    State.HOLD: {"AFTER_END", "LATE", "PICKED", "REFUSED"},
    State.PICKING: {"BODY", "BODY_LAST", "BODY_TOO_LARGE", "LATE"},
    State.PICKING_OPEN: {"AFTER_END", "LATE"},
    State.FLOWING: {"BODY_TOO_LARGE", "AFTER_END", "LATE", "PICKED", "REFUSED"},
    State.STEERED: {"BODY", "BODY_LAST", "BODY_TOO_LARGE", "LATE", "PICKED", "REFUSED"},
    State.ABANDONED: {"LATE"},
    State.CLOSED: set(),
}
HEADS = {signal.name for signal in Signal if signal.name.startswith("HEAD")}


@pytest.mark.parametrize("state", list(State))
def test_every_pair_is_a_step_or_a_known_fault(state: State) -> None:
    missing = {signal.name for signal in Signal} - {signal.name for signal in REQUEST_TABLE[state]}
    second_head = set() if state in (State.START, State.CLOSED) else HEADS
    assert missing == FAULTS[state] | second_head


def test_every_state_can_be_reached_and_left() -> None:
    reached = {State.START}
    while grown := {t.to for s in reached for t in REQUEST_TABLE[s].values()} - reached:
        reached |= grown
    assert reached == set(State)
    for state in State:
        assert REQUEST_TABLE[state][Signal.ENDED].to is State.CLOSED


def test_closed_is_closed() -> None:
    assert {transition.to for transition in REQUEST_TABLE[State.CLOSED].values()} == {State.CLOSED}


@pytest.mark.parametrize("step", list(Step))
def test_every_step_is_a_method_and_is_used(step: Step) -> None:
    assert callable(getattr(Exchange, "_" + step.value.replace("-", "_")))
    assert any(step is t.step for row in REQUEST_TABLE.values() for t in row.values())


def test_the_response_side_ends_by_every_way_that_ends_a_response() -> None:
    for signal in (ResponseSignal.HEAD_LAST, ResponseSignal.BODY_LAST, ResponseSignal.TRAILERS):
        assert RESPONSE_TABLE[ResponseState.AWAITED][signal] is ResponseState.DONE
    assert RESPONSE_TABLE[ResponseState.DONE] == {}
