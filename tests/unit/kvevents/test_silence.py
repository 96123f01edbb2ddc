"""Ranks that are sent prompts and say nothing."""

from epp.core.endpoints import WorkerRank
from epp.kvevents.silence import SilenceWatch

A, B = WorkerRank(1, 0), WorkerRank(2, 0)


def test_reported_once_until_heard() -> None:
    watch = SilenceWatch(60.0)
    watch.sent(A, 0.0)
    watch.sent(A, 50.0)
    assert watch.newly_silent(59.9) == ()
    assert watch.newly_silent(60.0) == (A,)
    assert watch.newly_silent(70.0) == ()
    assert watch.silent_ranks == 1
    assert watch.heard(A) is True
    assert (watch.silent_ranks, watch.newly_silent(200.0)) == (0, ())
    watch.sent(A, 200.0)
    assert watch.newly_silent(260.0) == (A,)


def test_events_keep_a_rank_from_being_silent() -> None:
    watch = SilenceWatch(60.0)
    watch.sent(A, 0.0)
    assert watch.heard(A) is False
    watch.sent(A, 30.0)
    assert watch.newly_silent(89.0) == ()


def test_nobody_is_silent_who_was_not_asked() -> None:
    assert SilenceWatch(60.0).newly_silent(1e9) == ()


def test_a_rank_that_left_is_forgotten() -> None:
    watch = SilenceWatch(60.0)
    watch.sent(A, 0.0)
    watch.sent(B, 0.0)
    watch.newly_silent(60.0)
    watch.forget(A)
    assert watch.silent_ranks == 1
