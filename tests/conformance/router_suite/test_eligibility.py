"""Who may be chosen: roles, pins, busy workers, and requests split over prefill and decode."""

from collections import Counter
from typing import Any

import pytest

from epp.core.endpoints import Role
from epp.core.rng import SplitMix64
from epp.core.router import (
    BusyLimits,
    CapacityError,
    CostParams,
    DisaggRule,
    NoChoice,
    Phase,
    Policy,
    PrefillDone,
    Router,
)
from tests.conformance.router_suite.builders import (
    apply,
    ask,
    book,
    chosen,
    fleet,
    load,
    prompt,
    rank,
    stored,
)
from tests.conformance.router_suite.factories import MakeRouter


def pair(router: Router, tokens: bytes | None = None, **more: Any) -> tuple[int | None, int]:
    """(prefill worker or None, worker)."""
    picked = chosen(router.select(ask(prompt(64) if tokens is None else tokens, **more)))
    return picked.prefill and picked.prefill.worker_id, picked.worker.worker_id


@pytest.fixture
def split(router: Router) -> Router:
    """Worker 1 prefills, worker 2 decodes."""
    fleet(router, 1, role=Role.PREFILL)
    fleet(router, 2, role=Role.DECODE)
    return router


# --- pins ----------------------------------------------------------------------------------------------


def test_a_pin_is_hard(router: Router) -> None:
    fleet(router, 1, 2, dp_size=2)
    apply(router, 2, stored([1, 2, 3, 4], prompt(64)))
    assert chosen(router.select(ask(prompt(64), pin=rank(1, 1)))).worker == rank(1, 1)
    ranks = {chosen(router.select(ask(prompt(64), seed=s, pin=rank(1, -1)))).worker for s in range(20)}
    assert ranks == {rank(1, 0), rank(1, 1)}


@pytest.mark.parametrize("which", ["pin", "prefill_pin"])
def test_pins_that_name_nobody(router: Router, which: str) -> None:
    fleet(router, 1)
    assert router.select(ask(b"", **{which: rank(9)})) is NoChoice.UNKNOWN_PIN
    assert router.select(ask(b"", **{which: rank(1, 1)})) is NoChoice.RANK_OUT_OF_RANGE


def test_a_pin_does_not_widen_what_is_allowed(router: Router) -> None:
    fleet(router, 1, 2)
    assert router.select(ask(b"", pin=rank(1), candidates=[2])) is NoChoice.NO_CANDIDATES
    required = frozenset({"gpu"})
    assert router.select(ask(b"", pin=rank(1), required_taints=required)) is NoChoice.NO_CANDIDATES


def test_refusals_come_in_order(router: Router) -> None:
    nobody = ask(b"", pin=rank(9), prefill_pin=rank(1, 7), candidates=[])
    assert router.select(nobody) is NoChoice.NO_WORKERS
    fleet(router, 5, role=Role.ENCODE)
    assert router.select(nobody) is NoChoice.NO_WORKERS
    fleet(router, 1)
    assert router.select(nobody) is NoChoice.UNKNOWN_PIN
    fleet(router, 9)
    assert router.select(nobody) is NoChoice.RANK_OUT_OF_RANGE


# --- roles and splitting -------------------------------------------------------------------------------


def test_only_prefill_workers_cannot_serve(router: Router) -> None:
    fleet(router, 1, role=Role.PREFILL)
    assert router.select(ask(prompt(16))) is NoChoice.NO_CANDIDATES
    assert router.select(ask(prompt(16), pin=rank(1))) is NoChoice.NO_CANDIDATES


def test_without_prefill_workers_decode_workers_serve_alone(router: Router) -> None:
    fleet(router, 2, role=Role.DECODE)
    fleet(router, 3)
    fleet(router, 4, role=Role.ENCODE)
    apply(router, 2, stored([1, 2, 3, 4], prompt(64)))
    assert pair(router) == (None, 2)
    assert {row.phase for row in router.measure(ask(b""))} == {Phase.AGGREGATED}


def test_a_request_is_split_when_both_roles_are_at_hand(split: Router) -> None:
    assert pair(split) == (1, 2)


def test_aggregated_workers_may_decode_for_prefill_workers(router: Router) -> None:
    fleet(router, 1, role=Role.PREFILL)
    fleet(router, 2)
    assert pair(router) == (1, 2)


def test_rows_of_a_split_show_both_choices(split: Router) -> None:
    fleet(split, 3)
    apply(split, 1, stored([1, 2], prompt(32)))
    apply(split, 3, stored([1, 2, 3], prompt(48)))
    rows = split.measure(ask(prompt(64), explain=True))
    assert [(row.phase, row.worker.worker_id) for row in rows] == [
        (Phase.PREFILL, 1),
        (Phase.DECODE, 2),
        (Phase.DECODE, 3),
    ]
    assert [row.cost for row in rows] == [4 - 2 + 4, 4, 4]
    assert [row.uncached_tokens for row in rows] == [32, 64, 64]
    assert [row.predicted_ttft_s > 0 for row in rows] == [True, False, False]
    picked = chosen(split.select(ask(prompt(64), explain=True)))
    assert picked.candidates == rows
    assert (picked.cached_tokens, picked.best_cached_tokens, picked.uncached_tokens) == (32, 32, 32)
    assert (picked.cost, picked.block_tokens) == (6, 16)


def test_decode_goes_where_less_is_decoded_whatever_is_cached(split: Router) -> None:
    fleet(split, 3, role=Role.DECODE)
    apply(split, 2, stored([1, 2, 3, 4], prompt(64)))
    book(split, prompt(16, first=900), 1, pin=rank(2))
    for policy in (Policy.KV, Policy.TTFT):
        assert pair(split, policy=policy) == (1, 3)


def test_the_rule_may_keep_a_request_whole(split: Router) -> None:
    assert pair(split, disagg=DisaggRule(enabled=False)) == (None, 2)
    assert pair(split, disagg=DisaggRule(min_prompt_tokens=65)) == (None, 2)
    assert pair(split, disagg=DisaggRule(min_prompt_tokens=64)) == (1, 2)
    apply(split, 2, stored([1, 2], prompt(32)))
    assert pair(split, disagg=DisaggRule(min_uncached_tokens=33)) == (None, 2)
    assert pair(split, disagg=DisaggRule(min_uncached_tokens=32)) == (1, 2)


def test_a_prefill_pin_demands_the_split(split: Router) -> None:
    fleet(split, 3, role=Role.PREFILL)
    fleet(split, 4)
    whole = DisaggRule(enabled=False)
    assert {pair(split, seed=s, prefill_pin=rank(3), disagg=whole)[0] for s in range(8)} == {3}
    assert pair(split, prefill_pin=rank(4), pin=rank(2)) == (4, 2)
    assert split.select(ask(b"", prefill_pin=rank(2))) is NoChoice.NO_CANDIDATES
    assert split.select(ask(b"", prefill_pin=rank(3), candidates=[2])) is NoChoice.NO_CANDIDATES


def test_candidates_narrow_both_choices(split: Router) -> None:
    fleet(split, 3, role=Role.PREFILL)
    assert {pair(split, seed=s, candidates=[2, 3]) for s in range(8)} == {(3, 2)}
    assert {pair(split, seed=s, candidates=[2]) for s in range(8)} == {(None, 2)}


def test_the_prefill_choice_draws_first(router: Router) -> None:
    fleet(router, 1, 2, 3, role=Role.PREFILL)
    fleet(router, 4, 5, role=Role.DECODE)
    for seed in range(20):
        rng = SplitMix64(seed)
        expected = (1 + rng.below(3), 4 + rng.below(2))
        assert pair(router, seed=seed, policy=Policy.RANDOM) == expected


def test_round_robin_keeps_a_turn_for_each_phase(router: Router) -> None:
    fleet(router, 1, 2, role=Role.PREFILL)
    fleet(router, 4, 5, 6, role=Role.DECODE)
    turns = [pair(router, policy=Policy.ROUND_ROBIN) for _ in range(4)]
    assert turns == [(1, 4), (2, 5), (1, 6), (2, 4)]


def test_a_split_booking_loads_each_worker_with_its_part(split: Router) -> None:
    apply(split, 1, stored([1], prompt(16)))
    book(split, prompt(72), 1, now_s=1.0)
    prefill, decode = load(split, 1), load(split, 2)
    assert (prefill.active_requests, prefill.active_prefill_tokens, prefill.active_decode_blocks) == (
        1,
        56,
        0,
    )
    assert (decode.active_requests, decode.active_prefill_tokens, decode.active_decode_blocks) == (1, 0, 4)
    done = apply(split, 1, stored([2, 3, 4], prompt(48, first=17), parent=1), at=2.0).prefill_done
    assert done == (PrefillDone(1, 2.0, 1.0, exact=True),)
    assert (load(split, 1).active_requests, load(split, 1).active_prefill_tokens) == (0, 0)
    apply(split, 2, stored([1, 2, 3, 4], prompt(64)))
    output = prompt(8, first=65) + prompt(8, first=900)
    assert apply(split, 2, stored([5], output, parent=4)).decode_blocks == ((1, 1),)
    assert load(split, 2).active_decode_blocks == 5
    split.free(1)
    assert all(entry.active_requests + entry.active_decode_blocks == 0 for entry in split.loads())


def test_split_bookings_do_not_share_decode_blocks(split: Router) -> None:
    for booking in (1, 2):
        book(split, prompt(64), booking)
    assert load(split, 2).active_decode_blocks == 8


@pytest.mark.parametrize(("finished", "ended"), [(False, (1,)), (True, ())])
def test_losing_the_prefill_worker_ends_what_it_has_not_finished(
    split: Router, finished: bool, ended: tuple[int, ...]
) -> None:
    book(split, prompt(64), 1)
    if finished:
        split.prefill_complete(1, 1.0)
    assert split.remove_worker(1) == ended
    assert load(split, 2).active_requests == 1 - len(ended)


def test_silent_workers_of_a_split_are_predicted_to_hold_the_prompt(router: Router) -> None:
    fleet(router, 1, role=Role.PREFILL, has_events=False)
    fleet(router, 2, role=Role.DECODE, has_events=False)
    book(router, prompt(64), 1)
    assert router.stats().predicted_blocks == 8


def test_prefill_and_decode_workers_may_differ_in_block_size(router: Router) -> None:
    fleet(router, 1, role=Role.PREFILL, block_tokens=16)
    fleet(router, 2, role=Role.DECODE, block_tokens=32)
    assert book(router, prompt(64), 1).block_tokens == 16
    assert load(router, 2).active_decode_blocks == 2


# --- busy workers --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "limits",
    [
        BusyLimits(active_decode_fraction=0.3),
        BusyLimits(active_prefill_tokens=63),
        BusyLimits(active_prefill_fraction=0.6),
    ],
    ids=str,
)
def test_busy_workers_are_left_out_and_all_busy_is_overload(router: Router, limits: BusyLimits) -> None:
    fleet(router, 1, 2, total_blocks=10, max_batched_tokens=100)
    book(router, prompt(64), 1, candidates=[1])
    picks = Counter(pair(router, seed=s, busy=limits) for s in range(10))
    assert picks == {(None, 2): 10}
    assert router.select(ask(b"", pin=rank(1), busy=limits)) is NoChoice.OVERLOADED
    book(router, prompt(64), 2, candidates=[2])
    assert router.select(ask(b"", busy=limits)) is NoChoice.OVERLOADED
    assert router.measure(ask(b"", busy=limits)) == ()


@pytest.mark.parametrize(
    "limits",
    [
        BusyLimits(active_decode_fraction=0.4),
        BusyLimits(active_prefill_tokens=64),
        BusyLimits(active_prefill_fraction=0.64),
    ],
    ids=str,
)
def test_a_limit_reached_is_not_exceeded(router: Router, limits: BusyLimits) -> None:
    fleet(router, 1, total_blocks=10, max_batched_tokens=100)
    book(router, prompt(64), 1)
    assert pair(router, busy=limits) == (None, 1)


def test_a_worker_is_busy_when_all_its_ranks_are(router: Router) -> None:
    fleet(router, 1, dp_size=2)
    limits = BusyLimits(active_prefill_tokens=10)
    book(router, prompt(64), 1, pin=rank(1, 0))
    assert pair(router, busy=limits, pin=rank(1, 0)) == (None, 1)
    book(router, prompt(64), 2, pin=rank(1, 1))
    assert router.select(ask(b"", busy=limits)) is NoChoice.OVERLOADED


def test_unknown_capacity_limits_nothing(router: Router) -> None:
    fleet(router, 1)
    book(router, prompt(64), 1)
    assert pair(router, busy=BusyLimits(active_decode_fraction=0.0, active_prefill_fraction=0.0)) == (None, 1)


def test_busy_prefill_workers_overload_a_split(split: Router) -> None:
    book(split, prompt(64), 1)
    limits = BusyLimits(active_prefill_tokens=10)
    assert split.select(ask(b"", busy=limits)) is NoChoice.OVERLOADED
    assert pair(split, busy=limits, disagg=DisaggRule(enabled=False)) == (None, 2)


# --- bounds --------------------------------------------------------------------------------------------


def test_workers_are_bounded(make_router: MakeRouter) -> None:
    router = make_router(max_workers=1)
    fleet(router, 1)
    fleet(router, 1, total_blocks=3)
    with pytest.raises(CapacityError):
        fleet(router, 2)
    router.remove_worker(1)
    fleet(router, 2)
    assert (router.stats().workers, router.stats().ranks) == (1, 1)


def test_overrides_do_not_leak_into_the_prefill_choice(split: Router) -> None:
    apply(split, 1, stored([1, 2], prompt(32)))
    rows = split.measure(ask(prompt(64), params=CostParams(prefill_load_scale=3.0)))
    assert [row.cost for row in rows] == [3 * 2 + 4, 4]
