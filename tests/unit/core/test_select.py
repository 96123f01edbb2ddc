"""How one cost out of many is picked."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from epp.core.rng import SplitMix64
from epp.core.router import Policy
from epp.core.scheduling.select import choose

costs = st.lists(st.floats(0, 1e12), min_size=1, max_size=8)
seeds = st.integers(0, 2**64 - 1)


class NoRandomness(SplitMix64):
    def next_u64(self) -> int:
        raise AssertionError("a draw was made")


@given(costs, seeds)
def test_temperature_zero_takes_a_least_cost(costs: list[float], seed: int) -> None:
    for policy in (Policy.KV, Policy.TTFT, Policy.LEAST_LOADED):
        assert costs[choose(costs, policy, 0.0, SplitMix64(seed), 0)] == min(costs)


@given(costs, st.floats(0, 1e9), seeds, st.integers(0, 10**6))
def test_every_policy_answers_within_range(
    costs: list[float], temperature: float, seed: int, counter: int
) -> None:
    for policy in Policy:
        assert 0 <= choose(costs, policy, temperature, SplitMix64(seed), counter) < len(costs)


@pytest.mark.parametrize("temperature", [5e-324, 1e-300, 1e-9])
def test_the_coldest_temperature_takes_the_least_cost(temperature: float) -> None:
    picks = {choose([3.0, 1.0, 2.0], Policy.KV, temperature, SplitMix64(seed), 0) for seed in range(50)}
    assert picks == {1}


def test_great_heat_is_uniform() -> None:
    picks = [choose([3.0, 1.0, 2.0], Policy.TTFT, 1e9, SplitMix64(seed), 0) for seed in range(900)]
    assert all(250 < picks.count(index) < 350 for index in range(3))


def test_nothing_is_drawn_without_need() -> None:
    rng = NoRandomness(0)
    for policy in Policy:
        assert choose([7.0], policy, 1.0, rng, 5) == 0
    assert choose([2.0, 3.0, 1.0], Policy.KV, 0.0, rng, 0) == 2
    assert choose([2.0, 3.0, 1.0], Policy.ROUND_ROBIN, 0.0, rng, 4) == 1
