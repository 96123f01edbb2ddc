"""Picks one candidate by its cost; the only place where a choice uses randomness.

Which draws are made, in which order, is part of the contract (``docs/algorithms.md`` section 4.4): every
implementation picks the same candidate for the same seed.
"""

from collections.abc import Sequence
from math import exp

from epp.core.rng import SplitMix64
from epp.core.router import Policy


def choose(costs: Sequence[float], policy: Policy, temperature: float, rng: SplitMix64, counter: int) -> int:
    """Index of the chosen candidate. ``counter`` says whose turn it is in round-robin."""
    count = len(costs)
    if policy is Policy.ROUND_ROBIN:
        return counter % count
    if count == 1:
        return 0
    if policy is Policy.RANDOM:
        return rng.below(count)
    if policy is Policy.POWER_OF_TWO:
        return _better_of_two(costs, rng)
    if temperature > 0.0 and policy in (Policy.KV, Policy.TTFT):
        return _softmax(costs, temperature, rng)
    return _least(costs, rng)


def _least(costs: Sequence[float], rng: SplitMix64) -> int:
    """The least cost; equal ones by reservoir, so that each is as likely."""
    best, equals = 0, 1
    for index in range(1, len(costs)):
        if costs[index] < costs[best]:
            best, equals = index, 1
        elif costs[index] == costs[best]:
            equals += 1
            if rng.below(equals) == 0:
                best = index
    return best


def _softmax(costs: Sequence[float], temperature: float, rng: SplitMix64) -> int:
    least, most = min(costs), max(costs)
    if least == most:
        return rng.below(len(costs))
    weights = [exp(-((cost - least) / (most - least) / temperature)) for cost in costs]
    total = 0.0
    for weight in weights:
        total += weight
    target, running = rng.unit() * total, 0.0
    for index, weight in enumerate(weights):
        running += weight
        if target < running:
            return index
    return len(costs) - 1


def _better_of_two(costs: Sequence[float], rng: SplitMix64) -> int:
    first, second = rng.below(len(costs)), rng.below(len(costs) - 1)
    if second >= first:
        second += 1
    return second if costs[second] < costs[first] else first
