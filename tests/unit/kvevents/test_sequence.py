"""One rank's stream in order: the rules, then a random engine against a truthful index."""

from collections.abc import Iterable

from hypothesis import given, settings
from hypothesis import strategies as st

from epp.kvevents.sequence import (
    Action,
    Apply,
    AskReplay,
    DropReason,
    DropView,
    EndReplay,
    RankSequence,
    Skipped,
)
from epp.wire.zmqframes import Sequenced

TIMEOUT_S = 5.0


def message(seq: int) -> Sequenced:
    return Sequenced(seq, str(seq).encode())


def applied(seq: int, *, replayed: bool = False) -> Apply:
    return Apply(str(seq).encode(), replayed)


def run(actions: Iterable[Action]) -> list[Action]:
    return list(actions)


def following(next_seq: int, *, can_replay: bool = True) -> RankSequence:
    """A sequence that has applied everything below ``next_seq``."""
    sequence = RankSequence(can_replay=can_replay, replay_timeout_s=TIMEOUT_S)
    run(sequence.connected(0.0))
    if can_replay:
        run(sequence.replay_ended())
    for seq in range(next_seq):
        assert run(sequence.live(message(seq), 0.0)) == [applied(seq)]
    return sequence


def test_the_first_connection_asks_for_everything() -> None:
    sequence = RankSequence(can_replay=True, replay_timeout_s=TIMEOUT_S)
    assert run(sequence.connected(1.0)) == [AskReplay(0)]
    assert (sequence.replaying, sequence.deadline_s) == (True, 6.0)
    assert run(sequence.replayed(message(4), 2.0)) == [applied(4, replayed=True)]
    assert sequence.deadline_s == 7.0
    assert run(sequence.replay_ended()) == [EndReplay(filled=True)]
    assert run(sequence.live(message(4), 3.0)) == [Skipped()]
    assert run(sequence.live(message(5), 3.0)) == [applied(5)]


def test_without_replay_a_late_join_starts_where_it_is() -> None:
    sequence = following(0, can_replay=False)
    assert run(sequence.live(message(17), 0.0)) == [applied(17)]
    assert run(sequence.live(message(18), 0.0)) == [applied(18)]


def test_a_gap_is_filled_in_order() -> None:
    sequence = following(3)
    assert run(sequence.live(message(5), 0.0)) == [AskReplay(3)]
    assert run(sequence.replayed(message(2), 0.0)) == [Skipped()]
    assert run(sequence.replayed(message(3), 0.0)) == [applied(3, replayed=True)]
    assert run(sequence.replayed(message(4), 0.0)) == [applied(4, replayed=True)]
    assert run(sequence.replay_ended()) == [EndReplay(filled=True), applied(5)]
    assert run(sequence.live(message(6), 0.0)) == [applied(6)]


def test_a_replay_that_brings_the_message_itself() -> None:
    sequence = following(3)
    run(sequence.live(message(4), 0.0))
    run(sequence.replayed(message(3), 0.0))
    run(sequence.replayed(message(4), 0.0))
    assert run(sequence.replay_ended()) == [EndReplay(filled=True), Skipped()]


def test_a_gap_without_replay_drops_the_view() -> None:
    sequence = following(3, can_replay=False)
    assert run(sequence.live(message(5), 0.0)) == [DropView(DropReason.GAP), applied(5)]


def test_a_hole_in_the_replay_drops_the_view() -> None:
    sequence = following(3)
    run(sequence.live(message(9), 0.0))
    assert run(sequence.replayed(message(5), 0.0)) == [
        DropView(DropReason.REPLAY_HOLE),
        applied(5, replayed=True),
    ]
    assert run(sequence.replay_ended()) == [
        EndReplay(filled=True),
        DropView(DropReason.REPLAY_HOLE),
        applied(9),
    ]


def test_a_replay_without_progress_is_given_up() -> None:
    sequence = following(3)
    run(sequence.live(message(5), 10.0))
    assert run(sequence.tick(14.9)) == []
    assert run(sequence.tick(15.0)) == [
        EndReplay(filled=False),
        DropView(DropReason.REPLAY_TIMEOUT),
        applied(5),
    ]
    assert run(sequence.replayed(message(3), 16.0)) == []
    assert run(sequence.replay_ended()) == []
    assert sequence.deadline_s is None


def test_a_first_fill_that_times_out_has_nothing_to_drop() -> None:
    sequence = RankSequence(can_replay=True, replay_timeout_s=TIMEOUT_S)
    run(sequence.connected(0.0))
    assert run(sequence.tick(5.0)) == [EndReplay(filled=False)]
    assert run(sequence.live(message(8), 5.0)) == [applied(8)]


def test_a_seq_that_goes_back_is_another_life() -> None:
    sequence = following(3)
    assert run(sequence.live(message(1), 0.0)) == [DropView(DropReason.RESTART), AskReplay(0)]
    assert run(sequence.replayed(message(0), 0.0)) == [applied(0, replayed=True)]
    assert run(sequence.replay_ended()) == [EndReplay(filled=True), applied(1)]


def test_another_life_without_replay() -> None:
    sequence = following(3, can_replay=False)
    assert run(sequence.live(message(0), 0.0)) == [DropView(DropReason.RESTART), applied(0)]
    assert run(sequence.live(message(1), 0.0)) == [applied(1)]


def test_a_reconnect_is_another_life_even_during_a_replay() -> None:
    sequence = following(3)
    run(sequence.live(message(5), 0.0))
    assert run(sequence.connected(1.0)) == [
        EndReplay(filled=False),
        DropView(DropReason.RESTART),
        AskReplay(0),
    ]
    assert run(sequence.replay_ended()) == [EndReplay(filled=True)]
    assert run(sequence.live(message(0), 1.0)) == [applied(0)]


class Engine:
    """A publisher with a bounded memory, and the view that follows it."""

    def __init__(self, *, can_replay: bool, kept: int, cut_off: int) -> None:
        self.sequence = RankSequence(can_replay=can_replay, replay_timeout_s=TIMEOUT_S)
        self.view: list[int] = []
        self._kept = kept
        self._cut_off = cut_off
        self._published = 0
        self._follow(self.sequence.connected(0.0))

    def publish(self, *, lost: bool) -> None:
        self._published += 1
        if not lost:
            self._follow(self.sequence.live(message(self._published - 1), 0.0))

    def _follow(self, actions: Iterable[Action]) -> None:
        for action in tuple(actions):
            match action:
                case Apply(payload=payload):
                    self.view.append(int(payload))
                case DropView():
                    self.view.clear()
                case AskReplay(start_seq=start):
                    self._replay(start)
                case EndReplay() | Skipped():
                    pass

    def _replay(self, start: int) -> None:
        for seq in range(max(start, self._published - self._kept), self._published):
            self._follow(self.sequence.replayed(message(seq), 0.0))
        stuck = self._published > self._cut_off
        self._follow(self.sequence.tick(TIMEOUT_S) if stuck else self.sequence.replay_ended())


@settings(max_examples=150)
@given(
    lost=st.sets(st.integers(0, 30)),
    kept=st.integers(0, 31),
    can_replay=st.booleans(),
    cut_off=st.integers(0, 31),
)
def test_a_view_never_misses_a_message(lost: set[int], kept: int, can_replay: bool, cut_off: int) -> None:
    """Whatever is lost on the way, what the view holds is an unbroken run up to the last message heard.

    ``kept``: messages the engine can replay; ``cut_off``: replays after so many messages never end.
    """
    engine = Engine(can_replay=can_replay, kept=kept, cut_off=cut_off)
    for seq in range(31):
        engine.publish(lost=seq in lost)
        if seq not in lost:
            assert engine.view == list(range(engine.view[0], seq + 1))
            assert not engine.sequence.replaying
