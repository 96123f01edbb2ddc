"""Pickers: orders, ties, and frequencies of draws."""

from collections import Counter

import pytest

from epp.core.rng import SplitMix64
from epp.core.scheduling.plugin import Scored
from tests.unit.scheduling.builders import candidate, context, plugin

PODS = [candidate(i) for i in range(4)]


def draw(type_: str, scores: list[float], seed: int, parameters: str = "{}") -> list[int]:
    scored = [Scored(one, score) for one, score in zip(PODS, scores, strict=False)]
    picked = plugin(type_, parameters).pick(context(), scored, SplitMix64(seed))
    return [one.candidate.endpoint.worker_id for one in picked]


def test_the_best_wins_and_ties_are_shared() -> None:
    assert draw("max-score-picker", [0.1, 0.9, 0.5, 0.2], 1, "{maxNumOfEndpoints: 3}") == [1, 2, 3]
    ties = Counter(draw("max-score-picker", [1.0, 1.0, 0.0, 1.0], seed)[0] for seed in range(600))
    assert set(ties) == {0, 1, 3}
    assert min(ties.values()) > 150


def test_random_ignores_scores() -> None:
    drawn = Counter(draw("random-picker", [9.0, 0.0, 0.0, 0.0], seed)[0] for seed in range(800))
    assert set(drawn) == {0, 1, 2, 3}
    assert max(drawn.values()) < 280


def test_weighted_draws_follow_the_scores() -> None:
    drawn = Counter(draw("weighted-random-picker", [3.0, 1.0, 0.0], seed)[0] for seed in range(2000))
    assert drawn[2] == 0
    assert drawn[0] / drawn[1] == pytest.approx(3.0, rel=0.2)


def test_weighted_with_nothing_but_zeros_is_uniform() -> None:
    drawn = Counter(draw("weighted-random-picker", [0.0, 0.0], seed)[0] for seed in range(400))
    assert min(drawn[0], drawn[1]) > 150


@pytest.mark.parametrize("type_", ["max-score-picker", "random-picker", "weighted-random-picker"])
def test_the_same_seed_draws_the_same(type_: str) -> None:
    parameters = "{maxNumOfEndpoints: 4}"
    first = draw(type_, [1.0, 1.0, 1.0, 1.0], 7, parameters)
    assert first == draw(type_, [1.0, 1.0, 1.0, 1.0], 7, parameters)
    assert sorted(first) == [0, 1, 2, 3]
