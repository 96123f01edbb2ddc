"""How a router chooses. Numbered tests are the observed behaviours 36 to 49 of Dynamo."""

from collections import Counter
from math import exp, tanh
from typing import Any

import pytest

from epp.core.rng import SplitMix64
from epp.core.router import CostParams, NoChoice, Policy, Router, Tier, WorkerSpec
from tests.conformance.router_suite.builders import (
    apply,
    ask,
    book,
    chosen,
    flat,
    fleet,
    prompt,
    rank,
    runs,
    sizes,
    stored,
    terms,
)
from tests.conformance.router_suite.factories import MakeRouter


def tally(router: Router, count: int, **more: Any) -> Counter[int]:
    """How often each worker is chosen, over seeds."""
    tokens = more.pop("tokens", prompt(64))
    return Counter(
        chosen(router.select(ask(tokens, seed=seed, **more))).worker.worker_id for seed in range(count)
    )


def decode_load(router: Router, worker_id: int, blocks: int, booking: int = 1000) -> None:
    """Decode blocks on a worker, and nothing else."""
    book(router, b"", booking + worker_id, candidates=[worker_id])
    for _ in range(blocks):
        router.output_block(booking + worker_id)


def test_36_cold_workers_are_equally_likely(router: Router) -> None:
    fleet(router, 1, 2, 3)
    picks = tally(router, 900)
    assert all(260 <= picks[worker] <= 340 for worker in (1, 2, 3))


def test_37_a_cached_prefix_outweighs_as_many_decode_blocks(router: Router) -> None:
    fleet(router, 1, 2, 3)
    apply(router, 1, stored([1, 2, 3], prompt(48)))
    decode_load(router, 1, 2)
    assert terms(router, prompt(64))[rank(1)].cost == 1 + 4 + 2
    assert tally(router, 30) == {1: 30}
    router.output_block(1001)
    assert set(tally(router, 60)) == {1, 2, 3}
    router.output_block(1001)
    assert set(tally(router, 60)) == {2, 3}


@pytest.mark.parametrize(
    ("temperature", "expected"), [(1.0, (0.532, 0.273, 0.196)), (0.5, (0.715, 0.188, 0.097))]
)
def test_38_and_39_temperature_spreads_choices_by_cost(
    router: Router, temperature: float, expected: tuple[float, ...]
) -> None:
    fleet(router, 1, 2, 3)
    apply(router, 1, stored([1, 2, 3], prompt(48)))
    apply(router, 2, stored([1], prompt(16)))
    assert [row.cost for row in terms(router, prompt(64)).values()] == [5, 7, 8]
    picks = tally(router, 3000, params=CostParams(temperature=temperature))
    assert [picks[worker] / 3000 for worker in (1, 2, 3)] == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize("params", [CostParams(overlap_credit=0.0), CostParams(prefill_load_scale=0.0)])
def test_40_without_credit_or_prefill_the_cache_does_not_matter(router: Router, params: CostParams) -> None:
    fleet(router, 1, 2, 3)
    apply(router, 1, stored([1, 2, 3], prompt(48)))
    picks = tally(router, 900, params=params)
    assert all(260 <= picks[worker] <= 340 for worker in (1, 2, 3))


def test_41_tiers_weigh_what_they_save(router: Router) -> None:
    fleet(router, 1, 2)
    apply(router, 1, stored([1, 2, 3], prompt(48), tier=Tier.HOST))
    apply(router, 2, stored([1], prompt(16)))
    rows = terms(router, prompt(64))
    assert [rows[rank(w)].uncached_tokens for w in (1, 2)] == [28, 48]
    blind = terms(router, prompt(64), params=CostParams(overlap_credit=0.0))
    assert [blind[rank(w)].uncached_tokens for w in (1, 2)] == [64, 64]
    assert [blind[rank(w)].cached_tokens for w in (1, 2)] == [48, 16]


def test_47_nobody_to_serve(router: Router) -> None:
    assert router.select(ask(prompt(16))) is NoChoice.NO_WORKERS
    assert router.measure(ask(prompt(16))) == ()


def test_48_nobody_allowed(router: Router) -> None:
    fleet(router, 1)
    for narrow in ({"candidates": []}, {"candidates": [9]}, {"required_taints": frozenset({"a100"})}):
        assert router.select(ask(prompt(16), **narrow)) is NoChoice.NO_CANDIDATES
        assert router.measure(ask(prompt(16), **narrow)) == ()


def test_49_an_empty_prompt_is_served(router: Router) -> None:
    fleet(router, 1)
    picked = book(router, b"", 1)
    assert (picked.uncached_tokens, picked.prompt_tokens, picked.cached_tokens) == (0, 0, 0)


# --- the kv cost, term by term -------------------------------------------------------------------------


def test_credit_decays_with_queued_prefill(router: Router) -> None:
    fleet(router, 1, 2)
    apply(router, 1, stored([1, 2], prompt(32)))
    book(router, prompt(64, first=900), 1, candidates=[1])
    params = CostParams(credit_decay=0.5)
    credit = 2 / (1 + 0.5 * (64 / 16 / 4))
    assert terms(router, prompt(64), params=params)[rank(1)].cost == (64 + 64) / 16 - credit + 8


def test_credit_above_one_is_clamped_at_free(router: Router) -> None:
    fleet(router, 1)
    apply(router, 1, stored([1, 2, 3], prompt(48)))
    row = terms(router, prompt(64), params=CostParams(overlap_credit=2.0))[rank(1)]
    assert (row.cost, row.uncached_tokens) == (4, 0)


def test_every_weight_counts(router: Router) -> None:
    fleet(router, 1)
    apply(router, 1, stored([1], prompt(16)))
    apply(router, 1, stored([2], prompt(16, first=17), parent=1, tier=Tier.HOST))
    apply(router, 1, stored([3], prompt(16, first=33), parent=2, tier=Tier.EXTERNAL))
    book(router, prompt(32, first=900), 1)
    params = CostParams(
        overlap_credit=1.5,
        prefill_load_scale=2.0,
        host_weight=0.5,
        disk_weight=0.1,
        active_request_weight=3.0,
    )
    row = terms(router, prompt(72), params=params)[rank(1)]
    assert (row.device_blocks, row.host_blocks, row.disk_blocks, row.request_blocks) == (1, 1, 1, 5)
    assert (row.active_requests, row.active_prefill_tokens) == (1, 32)
    assert row.cost == 2.0 * ((32 + 72) / 16 - (1.5 + 0.5 + 0.1)) + (2 + 5) + 3.0


def test_untracked_prefill_leaves_the_decode_cost(router: Router) -> None:
    fleet(router, 1)
    apply(router, 1, stored([1, 2, 3], prompt(48)))
    book(router, prompt(64, first=900), 1)
    untracked = CostParams(track_prefill_tokens=False)
    assert terms(router, prompt(64), params=untracked)[rank(1)].cost == 8 - 3


def test_preferred_taints_scale_the_cost(router: Router) -> None:
    fleet(router, 1, taints=frozenset({"zone-a", "spot"}))
    fleet(router, 2)
    rows = terms(router, prompt(64), preferred_taints=(("zone-a", 1.0), ("spot", -0.25), ("zone-b", 9.0)))
    assert rows[rank(1)].cost == pytest.approx(8 * exp(-tanh(0.75)))
    assert rows[rank(2)].cost == 8


def test_required_taints_must_all_be_there(router: Router) -> None:
    fleet(router, 1, taints=frozenset({"a", "b"}))
    fleet(router, 2, taints=frozenset({"a"}))
    assert tally(router, 10, required_taints=frozenset({"a", "b"})) == {1: 10}


# --- the other policies --------------------------------------------------------------------------------


def test_round_robin_takes_turns_among_those_allowed(router: Router) -> None:
    fleet(router, 3, 1, 2)
    turns = [
        chosen(router.select(ask(prompt(16), policy=Policy.ROUND_ROBIN))).worker.worker_id for _ in range(4)
    ]
    assert turns == [1, 2, 3, 1]
    picked = chosen(router.select(ask(prompt(16), policy=Policy.ROUND_ROBIN, candidates=[2, 3])))
    assert picked.worker.worker_id == 2
    assert router.select(ask(prompt(16), policy=Policy.ROUND_ROBIN, candidates=[])) is NoChoice.NO_CANDIDATES
    picked = chosen(router.select(ask(prompt(16), policy=Policy.ROUND_ROBIN)))
    assert picked.worker.worker_id == 3


def test_random_follows_its_seed(router: Router) -> None:
    fleet(router, 1, 2, 3)
    for seed in range(20):
        picked = chosen(router.select(ask(prompt(16), seed=seed, policy=Policy.RANDOM)))
        assert picked.worker.worker_id == 1 + SplitMix64(seed).below(3)


def test_ties_follow_the_documented_draws(router: Router) -> None:
    fleet(router, 1, 2, 3, 4)
    for seed in range(50):
        rng, expected = SplitMix64(seed), 1
        for equals in (2, 3, 4):
            if rng.below(equals) == 0:
                expected = equals
        assert chosen(router.select(ask(prompt(16), seed=seed))).worker.worker_id == expected


def test_least_loaded_ignores_the_cache(router: Router) -> None:
    fleet(router, 1, 2)
    apply(router, 1, stored([1, 2, 3, 4], prompt(64)))
    decode_load(router, 1, 1)
    assert tally(router, 20, policy=Policy.LEAST_LOADED) == {2: 20}
    book(router, prompt(32, first=900), 9, candidates=[2])
    assert tally(router, 20, policy=Policy.LEAST_LOADED) == {1: 20}
    rows = terms(router, prompt(64), policy=Policy.LEAST_LOADED)
    assert [rows[rank(w)].cost for w in (1, 2)] == [1, 4]


def test_power_of_two_takes_the_less_loaded_of_two(router: Router) -> None:
    fleet(router, 1, 2, 3)
    decode_load(router, 3, 5)
    for seed in range(50):
        rng = SplitMix64(seed)
        first, second = rng.below(3), rng.below(2)
        second += second >= first
        expected = second if first == 2 else first
        picked = chosen(router.select(ask(prompt(16), seed=seed, policy=Policy.POWER_OF_TWO)))
        assert picked.worker.worker_id == 1 + expected


@pytest.mark.parametrize("policy", list(Policy))
def test_one_candidate_is_chosen_by_every_policy(router: Router, policy: Policy) -> None:
    fleet(router, 1, 2)
    picked = chosen(router.select(ask(prompt(40), policy=policy, candidates=[2])))
    assert picked.worker == rank(2)


@pytest.mark.parametrize("policy", list(Policy))
def test_ranks_are_candidates_of_their_own(router: Router, policy: Policy) -> None:
    fleet(router, 1, dp_size=3)
    apply(router, 1, stored([1, 2, 3, 4], prompt(64)), dp_rank=2)
    rows = router.measure(ask(prompt(64), policy=policy))
    assert [row.worker for row in rows] == [rank(1, 0), rank(1, 1), rank(1, 2)]
    if policy in (Policy.KV, Policy.TTFT):
        assert chosen(router.select(ask(prompt(64), policy=policy))).worker == rank(1, 2)


# --- time to first token -------------------------------------------------------------------------------


def predicted(router: Router, tokens: bytes, worker_id: int = 1, **more: Any) -> float:
    return terms(router, tokens, policy=Policy.TTFT, **more)[rank(worker_id)].predicted_ttft_s


@pytest.fixture
def slow(make_router: MakeRouter) -> Router:
    """A router that believes in 100 tokens/s."""
    return make_router(default_prefill_tokens_per_s=100.0)


def test_ttft_is_queue_plus_own_prefill(slow: Router) -> None:
    fleet(slow, 1, 2)
    apply(slow, 2, stored([1, 2], prompt(32)))
    book(slow, prompt(200, first=900), 1, candidates=[1])
    assert predicted(slow, prompt(48), 1) == pytest.approx(2.48)
    assert predicted(slow, prompt(48), 2) == pytest.approx(0.16)


def test_the_head_of_the_queue_makes_progress(slow: Router) -> None:
    fleet(slow, 1)
    book(slow, prompt(200, first=900), 1)
    book(slow, prompt(100, first=5000), 2)
    assert predicted(slow, b"", now_s=0.5) == pytest.approx(2.5)
    assert predicted(slow, b"", now_s=60.0) == pytest.approx(1.0)
    slow.prefill_complete(1, 3.0)
    assert predicted(slow, b"", now_s=3.5) == pytest.approx(0.5)


def test_what_is_being_computed_there_need_not_be_computed_again(slow: Router) -> None:
    fleet(slow, 1, 2)
    book(slow, prompt(64), 1, candidates=[1], policy=Policy.TTFT)
    assert predicted(slow, prompt(80), 1) == pytest.approx(0.64 + 0.16)
    row = terms(slow, prompt(80), policy=Policy.TTFT)[rank(1)]
    assert (row.cached_tokens, row.uncached_tokens) == (0, 80)
    book(slow, prompt(80), 2, candidates=[1], policy=Policy.TTFT)
    assert slow.loads()[0].active_prefill_tokens == 64 + 16


def test_faster_ranks_are_preferred_once_known(slow: Router) -> None:
    fleet(slow, 1, 2)
    for worker_id, seconds in ((1, 2.0), (2, 0.5)):
        for number in range(3):
            booking = 10 * worker_id + number
            book(
                slow, prompt(100, first=1000 * booking), booking, now_s=10.0 * number, candidates=[worker_id]
            )
            slow.prefill_complete(booking, 10.0 * number + seconds)
            slow.free(booking)
    assert predicted(slow, prompt(100), 1) == pytest.approx(2.0)
    assert predicted(slow, prompt(100), 2) == pytest.approx(0.5)
    fleet(slow, 3)
    assert predicted(slow, prompt(100), 3) == pytest.approx(0.5)
    assert tally(slow, 20, policy=Policy.TTFT, candidates=[1, 2]) == {2: 20}


def test_equal_predictions_go_where_less_is_decoded(slow: Router) -> None:
    fleet(slow, 1, 2)
    decode_load(slow, 1, 1)
    assert tally(slow, 20, policy=Policy.TTFT) == {2: 20}


def test_equal_predictions_go_where_nothing_is_evicted(slow: Router) -> None:
    fleet(slow, 1, 2, total_blocks=4)
    apply(slow, 1, stored([1, 2], prompt(32, first=900)))
    rows = terms(slow, prompt(64), policy=Policy.TTFT)
    decoding = 0.05 * 64 / 100
    assert rows[rank(1)].cost == pytest.approx(0.64 + 1.5 * 32 / 100 + decoding)
    assert rows[rank(2)].cost == pytest.approx(0.64 + decoding)


def test_a_prompt_that_does_not_fit_waits_for_running_requests(slow: Router) -> None:
    fleet(slow, 1, 2, total_blocks=6)
    decode_load(slow, 1, 4)
    rows = terms(slow, prompt(64), policy=Policy.TTFT)
    assert rows[rank(1)].cost == pytest.approx(0.64 + 0.05 * 128 / 100 + 4.0 * 32 / 100)
    assert rows[rank(2)].cost == pytest.approx(0.64 + 0.05 * 64 / 100)


def test_predictions_are_made_when_asked_for(router: Router) -> None:
    fleet(router, 1)
    assert terms(router, prompt(64))[rank(1)].predicted_ttft_s == 0
    assert terms(router, prompt(64), explain=True)[rank(1)].predicted_ttft_s > 0
    assert chosen(router.select(ask(prompt(64)))).predicted_ttft_s == 0
    assert chosen(router.select(ask(prompt(64), policy=Policy.TTFT))).predicted_ttft_s > 0


# --- explanations --------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", list(Policy))
def test_the_explanation_is_what_was_measured(router: Router, policy: Policy) -> None:
    fleet(router, 1, 2)
    apply(router, 2, stored([1], prompt(16)))
    book(router, prompt(32, first=700), 1)
    question = ask(prompt(40), policy=policy, explain=True)
    rows = router.measure(question)
    picked = chosen(router.select(question))
    assert picked.candidates == rows
    (row,) = [row for row in rows if row.worker == picked.worker]
    assert (picked.cost, picked.predicted_ttft_s) == (row.cost, row.predicted_ttft_s)
    assert picked.uncached_tokens == row.uncached_tokens
    assert chosen(router.select(ask(prompt(40), policy=policy))).candidates == ()


def test_asking_changes_nothing(router: Router) -> None:
    fleet(router, 1)
    before = router.loads(), sizes(router)
    router.select(ask(prompt(64)))
    router.measure(ask(prompt(64), booking=5))
    assert (router.loads(), sizes(router)) == before


def test_a_memoryview_is_a_prompt(router: Router) -> None:
    fleet(router, 1)
    apply(router, 1, stored([1], prompt(16)))
    assert runs(router, memoryview(flat(range(1, 17))))[0] == 1


# --- arguments -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong",
    [
        {"tokens": b"123"},
        {"booking": 0},
        {"booking": 2**64},
        {"lease_s": 0.0},
        {"seed": -1},
        {"now_s": float("nan")},
        {"expected_output_tokens": -1},
        {"pin": rank(1, -2)},
        {"params": CostParams(temperature=-1.0)},
        {"params": CostParams(overlap_credit=float("inf"))},
        {"preferred_taints": (("a", float("nan")),)},
    ],
    ids=str,
)
def test_wrong_questions_are_errors(router: Router, wrong: dict[str, Any]) -> None:
    fleet(router, 1)
    question = {"tokens": b"", **wrong}
    with pytest.raises(ValueError, match="must"):
        router.select(ask(**question))


@pytest.mark.parametrize(
    "wrong",
    [
        {"worker_id": -1},
        {"worker_id": 2**64},
        {"dp_size": 0},
        {"dp_size": 4097},
        {"block_tokens": -1},
        {"block_tokens": 2**20 + 1},
        {"total_blocks": -1},
        {"max_batched_tokens": -1},
    ],
    ids=str,
)
def test_impossible_workers_are_errors(router: Router, wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must"):
        router.upsert_worker(WorkerSpec(**{"worker_id": 1, **wrong}))


def test_wrong_times_and_decays_are_errors(router: Router) -> None:
    fleet(router, 1)
    book(router, prompt(16), 1)
    for call in (
        lambda: router.output_block(1, 1.5),
        lambda: router.output_block(1, float("nan")),
        lambda: router.renew(1, float("inf")),
        lambda: router.prefill_complete(1, float("nan")),
        lambda: router.expire(float("nan")),
        lambda: router.apply(rank(1), [], float("nan")),
    ):
        with pytest.raises(ValueError, match="must"):
            call()
