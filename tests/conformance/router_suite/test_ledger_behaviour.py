"""What a router knows of work sent and unfinished. Numbered tests are observed behaviours of Dynamo."""

import pytest

from epp.core.router import (
    BlocksRemoved,
    CapacityError,
    CostParams,
    DuplicateBookingError,
    PrefillDone,
    Router,
    Selection,
    UnknownBookingError,
)
from tests.conformance.router_suite.builders import (
    apply,
    ask,
    book,
    fleet,
    load,
    prompt,
    rank,
    runs,
    stored,
    terms,
)
from tests.conformance.router_suite.factories import MakeRouter


def standing(router: Router, worker_id: int = 1, dp_rank: int = 0) -> tuple[int, int, int]:
    """(active requests, prefill tokens, decode blocks)."""
    found = load(router, worker_id, dp_rank)
    return found.active_requests, found.active_prefill_tokens, found.active_decode_blocks


def test_42_load_through_the_life_of_a_booking(router: Router) -> None:
    fleet(router, 1)
    apply(router, 1, stored([1], prompt(16)))
    book(router, prompt(64), 7)
    assert standing(router) == (1, 48, 4)
    assert router.prefill_complete(7, 1.0) == PrefillDone(7, 1.0, 0.0, exact=False)
    assert standing(router) == (1, 0, 4)
    router.output_block(7)
    assert standing(router) == (1, 0, 5)
    router.output_block(7, 0.5)
    assert standing(router) == (1, 0, 3)
    router.free(7)
    assert standing(router) == (0, 0, 0)


def test_43_partial_blocks_count_as_potential_but_are_not_tracked(router: Router) -> None:
    fleet(router, 1)
    assert terms(router, prompt(40))[rank(1)].potential_decode_blocks == 3
    book(router, prompt(40), 1)
    assert standing(router) == (1, 40, 2)
    assert terms(router, prompt(40))[rank(1)].potential_decode_blocks == 3


def test_44_equal_prompts_share_their_decode_blocks(router: Router) -> None:
    fleet(router, 1)
    book(router, prompt(64), 1)
    book(router, prompt(64), 2)
    assert standing(router) == (2, 128, 4)
    router.free(1)
    assert standing(router) == (1, 64, 4)


def test_45_a_booking_is_made_once(router: Router) -> None:
    fleet(router, 1)
    book(router, prompt(16), 2)
    before = router.loads()
    with pytest.raises(DuplicateBookingError):
        router.select(ask(prompt(16), booking=2))
    assert router.loads() == before


def test_46_unknown_bookings_are_errors(router: Router) -> None:
    fleet(router, 1)
    for call in (
        lambda: router.free(9),
        lambda: router.prefill_complete(9, 0.0),
        lambda: router.output_block(9),
        lambda: router.renew(9, 0.0),
    ):
        with pytest.raises(UnknownBookingError):
            call()


def test_a_freed_id_may_be_used_again(router: Router) -> None:
    fleet(router, 1)
    book(router, prompt(16), 2)
    router.free(2)
    with pytest.raises(UnknownBookingError):
        router.free(2)
    book(router, prompt(16), 2)
    assert router.stats().bookings == 1


def test_prompts_booked_without_reuse_share_nothing(router: Router) -> None:
    fleet(router, 1)
    alone = CostParams(assume_kv_reuse=False)
    book(router, prompt(64), 1, params=alone)
    assert terms(router, prompt(64), params=alone)[rank(1)].potential_decode_blocks == 8
    book(router, prompt(64), 2, params=alone)
    assert standing(router)[2] == 8
    router.output_block(1, 0.0)
    assert standing(router)[2] == 4


def test_prompts_booked_untracked_add_no_prefill_load(router: Router) -> None:
    fleet(router, 1)
    book(router, prompt(64), 1, params=CostParams(track_prefill_tokens=False))
    assert standing(router) == (1, 0, 4)


def test_shared_prefixes_count_once_and_decay_spares_them(router: Router) -> None:
    fleet(router, 1)
    book(router, prompt(64), 1)
    book(router, prompt(32) + prompt(32, first=500), 2)
    assert standing(router)[2] == 6
    router.output_block(1, 0.5)  # 2 shared, 2 + 1 its own
    assert standing(router)[2] == 6  # 2 + 2 of the other, and 3 half ones: 5.5 to the nearest
    router.output_block(1, 0.0)
    assert standing(router)[2] == 4
    router.output_block(1, 0.25)  # five at a quarter
    assert standing(router)[2] == 5
    book(router, prompt(64), 3)  # what decayed is shared now, and weighs fully
    assert standing(router)[2] == 7
    router.free(1)
    assert standing(router)[2] == 6


def test_completing_twice_is_known_already(router: Router) -> None:
    fleet(router, 1)
    book(router, prompt(64), 1)
    assert router.prefill_complete(1, 1.0) is not None
    assert router.prefill_complete(1, 2.0) is None


# --- leases --------------------------------------------------------------------------------------------


def test_leases_end_unless_renewed(router: Router) -> None:
    fleet(router, 1)
    for booking in (3, 1, 2):
        book(router, prompt(16), booking, now_s=0.0, lease_s=10.0)
    router.renew(2, 5.0)
    assert router.expire(9.9) == ()
    assert router.expire(10.0) == (1, 3)
    assert router.expire(15.0) == (2,)
    assert standing(router) == (0, 0, 0)


def test_progress_seen_in_events_renews_the_lease(router: Router) -> None:
    fleet(router, 1)
    book(router, prompt(32), 1, now_s=0.0, lease_s=10.0)
    apply(router, 1, stored([1, 2], prompt(32)), at=9.0)
    assert router.expire(18.9) == ()
    apply(router, 1, stored([3], prompt(16, first=900), parent=2), at=18.9)
    assert router.expire(28.8) == ()
    assert router.expire(28.9) == (1,)


def test_removing_a_worker_ends_its_bookings(router: Router) -> None:
    fleet(router, 1, 2)
    for booking in (5, 4):
        book(router, prompt(16), booking, candidates=[1])
    book(router, prompt(16), 6, candidates=[2])
    assert router.remove_worker(1) == (4, 5)
    assert router.remove_worker(1) == ()
    assert router.stats().bookings == 1


def test_shrinking_ends_the_bookings_of_lost_ranks(router: Router) -> None:
    fleet(router, 1, dp_size=2)
    book(router, prompt(16), 1, pin=rank(1, 1))
    book(router, prompt(16), 2, pin=rank(1, 0))
    fleet(router, 1, dp_size=1)
    assert router.stats().bookings == 1
    router.free(2)


def test_bookings_are_bounded(make_router: MakeRouter) -> None:
    router = make_router(max_bookings=1)
    fleet(router, 1)
    book(router, prompt(16), 1)
    with pytest.raises(CapacityError):
        router.select(ask(prompt(16), booking=2))
    assert isinstance(router.select(ask(prompt(16))), Selection)


# --- what events tell ----------------------------------------------------------------------------------


def test_the_last_full_prompt_block_completes_the_prefill(router: Router) -> None:
    fleet(router, 1)
    book(router, prompt(40), 1, now_s=1.0)
    assert apply(router, 1, stored([1], prompt(16)), at=1.5).prefill_done == ()
    report = apply(router, 1, stored([2], prompt(16, first=17), parent=1), at=2.0)
    assert report.prefill_done == (PrefillDone(1, 2.0, 1.0, exact=True),)
    assert standing(router) == (1, 0, 2)
    assert router.prefill_complete(1, 3.0) is None


def test_only_the_workers_own_events_count(router: Router) -> None:
    fleet(router, 1, 2, dp_size=2)
    book(router, prompt(16), 1, pin=rank(1, 1))
    assert apply(router, 2, stored([1], prompt(16)), dp_rank=1).prefill_done == ()
    assert apply(router, 1, stored([1], prompt(16)), dp_rank=0).prefill_done == ()
    assert len(apply(router, 1, stored([1], prompt(16)), dp_rank=1).prefill_done) == 1


def test_equal_prompts_complete_together_in_order_of_id(router: Router) -> None:
    fleet(router, 1)
    for booking in (9, 4):
        book(router, prompt(16), booking)
    done = apply(router, 1, stored([1], prompt(16))).prefill_done
    assert [entry.booking for entry in done] == [4, 9]


@pytest.mark.parametrize("extra", [0, 5])
def test_nothing_uncached_is_complete_at_once(router: Router, extra: int) -> None:
    fleet(router, 1)
    apply(router, 1, stored([1, 2], prompt(32)))
    book(router, prompt(32 + extra), 1)
    assert standing(router) == (1, 0, 2)
    assert router.prefill_complete(1, 1.0) is None


def test_a_prompt_below_one_block_is_complete_at_once(router: Router) -> None:
    fleet(router, 1)
    book(router, prompt(15), 1)
    assert standing(router) == (1, 0, 0)


def test_a_block_stored_again_completes_too(router: Router) -> None:
    fleet(router, 1)
    apply(router, 1, stored([1, 2, 3], prompt(48)), BlocksRemoved((2,)))
    book(router, prompt(48), 1)
    assert standing(router)[1] == 32
    report = apply(router, 1, stored([2, 3], prompt(32, first=17), parent=1))
    assert (report.stored_blocks, report.ignored) == (1, (("duplicate", 1),))
    assert [entry.booking for entry in report.prefill_done] == [1]


def test_output_is_followed_block_by_block(router: Router) -> None:
    fleet(router, 1)
    book(router, prompt(40), 1)
    apply(router, 1, stored([1, 2], prompt(32)))
    output = prompt(8, first=33) + prompt(24, first=700)
    report = apply(router, 1, stored([3, 4], output, parent=2))
    assert report.decode_blocks == ((1, 2),)
    assert standing(router) == (1, 0, 4)
    assert apply(router, 1, stored([5], prompt(16, first=900), parent=4)).decode_blocks == ((1, 1),)


def test_bookings_with_one_tip_advance_one_at_a_time(router: Router) -> None:
    fleet(router, 1)
    for booking in (2, 1):
        book(router, prompt(16), booking)
    apply(router, 1, stored([1], prompt(16)))
    assert apply(router, 1, stored([2], prompt(16, first=50), parent=1)).decode_blocks == ((1, 1),)
    assert apply(router, 1, stored([3], prompt(16, first=90), parent=1)).decode_blocks == ((2, 1),)
    assert apply(router, 1, stored([4], prompt(16, first=99), parent=1)).decode_blocks == ()


def test_the_prompt_of_another_request_is_nobodys_output(router: Router) -> None:
    fleet(router, 1)
    book(router, prompt(16), 1)
    apply(router, 1, stored([1], prompt(16)))
    book(router, prompt(48), 2)
    report = apply(router, 1, stored([2, 3], prompt(32, first=17), parent=1))
    assert report.decode_blocks == ()
    assert [entry.booking for entry in report.prefill_done] == [2]


def test_a_prompt_that_shares_nothing_is_a_prompt_all_the_same(router: Router) -> None:
    fleet(router, 1)
    book(router, prompt(16), 1)
    apply(router, 1, stored([1], prompt(16)))
    book(router, prompt(48), 2, params=CostParams(assume_kv_reuse=False))
    report = apply(router, 1, stored([2, 3], prompt(32, first=17), parent=1))
    assert report.decode_blocks == ()


def test_expected_output_makes_what_is_nearly_done_weigh_less(router: Router) -> None:
    fleet(router, 1)
    book(router, prompt(64), 1, expected_output_tokens=64)
    apply(router, 1, stored([1, 2, 3, 4], prompt(64)))
    apply(router, 1, stored([5], prompt(16, first=700), parent=4))
    assert standing(router)[2] == 4  # five blocks at three quarters: 3.75
    apply(router, 1, stored([6, 7, 8], prompt(48, first=800), parent=5))
    assert standing(router)[2] == 0


def test_output_of_a_request_shows_its_prompt_done(router: Router) -> None:
    fleet(router, 1)
    apply(router, 1, stored([1, 2], prompt(32)))
    book(router, prompt(48), 1, now_s=0.0)
    apply(router, 1, stored([3], prompt(16, first=33), parent=2), at=1.0)
    assert standing(router) == (1, 0, 3)


# --- workers without events ----------------------------------------------------------------------------


def test_prefill_on_a_silent_worker_ends_by_estimate(make_router: MakeRouter) -> None:
    router = make_router(default_prefill_tokens_per_s=100.0)
    fleet(router, 1, has_events=False)
    book(router, prompt(100), 1, now_s=0.0)
    book(router, prompt(50, first=900), 2, now_s=0.5)
    router.expire(0.99)
    assert standing(router)[1] == 150
    router.expire(1.0)
    assert standing(router)[1] == 50
    router.expire(1.5)
    assert standing(router)[1] == 0
    assert runs(router, prompt(100))[0] == 6


def test_an_estimate_never_ends_a_prefill_that_events_will_tell_of(make_router: MakeRouter) -> None:
    router = make_router(default_prefill_tokens_per_s=100.0)
    fleet(router, 1)
    book(router, prompt(100), 1)
    router.expire(200.0)
    assert standing(router)[1] == 100
    fleet(router, 1, has_events=False)  # its stream died
    router.expire(201.0)
    assert standing(router)[1] == 0


def test_estimates_start_afresh_when_nothing_is_left(make_router: MakeRouter) -> None:
    router = make_router(default_prefill_tokens_per_s=100.0)
    fleet(router, 1, has_events=False)
    book(router, prompt(1000), 1, now_s=0.0)
    router.free(1)
    book(router, prompt(100, first=5000), 2, now_s=1.0)
    router.expire(2.0)
    assert standing(router)[1] == 0


# --- the learnt rate -----------------------------------------------------------------------------------


def prefill(
    router: Router, booking: int, start: float, end: float, *, tokens: bytes = 100, worker_id: int = 1
) -> None:
    """One prompt of its own, computed from ``start`` to ``end``."""
    book(router, prompt(tokens, first=1000 * booking), booking, now_s=start, pin=rank(worker_id))
    router.prefill_complete(booking, end)
    router.free(booking)


def test_the_rate_is_learnt_after_three_prompts(router: Router) -> None:
    fleet(router, 1)
    for booking in (1, 2):
        prefill(router, booking, booking, booking + 0.5)
    assert load(router).prefill_tokens_per_s == 0
    prefill(router, 3, 3.0, 3.5)
    assert load(router).prefill_tokens_per_s == pytest.approx(200.0)
    assert terms(router, prompt(16))[rank(1)].prefill_tokens_per_s == load(router).prefill_tokens_per_s


def test_waiting_in_the_queue_is_not_computing(router: Router) -> None:
    fleet(router, 1)
    for booking in (1, 2, 3):
        book(router, prompt(100, first=1000 * booking), booking)
    for booking, end in ((1, 1.0), (2, 2.0), (3, 3.0)):
        router.prefill_complete(booking, end)
    assert load(router).prefill_tokens_per_s == pytest.approx(100.0)


def test_prompts_done_in_one_step_count_as_parallel_work(router: Router) -> None:
    fleet(router, 1)
    for booking in (1, 2, 3):
        book(router, prompt(100, first=1000 * booking), booking)
    for booking in (1, 2, 3):
        router.prefill_complete(booking, 1.0)
    learnt = 100 * (0.95**2 + 0.95 + 1) / 0.95**2
    assert load(router).prefill_tokens_per_s == pytest.approx(learnt)


def test_a_stuck_request_does_not_poison_the_rate(router: Router) -> None:
    fleet(router, 1)
    for booking in range(1, 6):
        prefill(router, booking, booking, booking + 0.5)
    prefill(router, 9, 10.0, 1000.0)
    assert load(router).prefill_tokens_per_s > 70
    for booking in range(20, 80):
        prefill(router, booking, 1000.0 + booking, 1000.5 + booking)
    assert load(router).prefill_tokens_per_s == pytest.approx(200.0, rel=0.1)


def test_estimates_teach_nothing(make_router: MakeRouter) -> None:
    router = make_router(default_prefill_tokens_per_s=10.0)
    fleet(router, 1, has_events=False)
    for booking in range(1, 6):
        book(router, prompt(100, first=1000 * booking), booking, now_s=100.0 * booking)
        router.expire(100.0 * booking + 99.0)
    assert load(router).prefill_tokens_per_s == 0


def test_events_teach_the_rate(router: Router) -> None:
    fleet(router, 1)
    for number in range(1, 5):
        book(router, prompt(160, first=1000 * number), number, now_s=float(number))
        names = [100 * number + block for block in range(10)]
        apply(router, 1, stored(names, prompt(160, first=1000 * number)), at=number + 0.5)
    assert load(router).prefill_tokens_per_s == pytest.approx(320.0)
