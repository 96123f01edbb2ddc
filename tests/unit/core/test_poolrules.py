"""Priorities of objectives, and models drawn by weight."""

from collections import Counter

from epp.core.poolrules import PoolRules, Rewrites, WeightedModels


def test_models_are_drawn_by_weight() -> None:
    models = WeightedModels(("a", "b", "c"), (1, 3, 6))
    assert Counter(models.draw(seed) for seed in range(1000)) == {"a": 100, "b": 300, "c": 600}
    assert models.draw(2**64 - 1) in models.models


def test_a_named_model_goes_before_all_others() -> None:
    one, other = WeightedModels(("x",), (1,)), WeightedModels(("y",), (1,))
    assert Rewrites({"a": one}, other).targets("a") is one
    assert Rewrites({"a": one}, other).targets("b") is other
    assert Rewrites({"a": one}).targets("b") is None


def test_an_unknown_objective_has_no_priority() -> None:
    rules = PoolRules()
    assert rules.priority_of("batch") is None
    rules.priorities = {"batch": -1}
    assert rules.priority_of("batch") == -1
    assert rules.priority_of(None) is None
