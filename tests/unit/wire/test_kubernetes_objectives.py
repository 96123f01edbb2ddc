"""InferenceObjective and InferenceModelRewrite objects."""

import json
from typing import Any

import pytest

from epp.core.poolrules import WeightedModels
from epp.wire.kubernetes.api import ApiFormatError, name_in
from epp.wire.kubernetes.objectives import (
    MAX_WEIGHT,
    PoolRef,
    read_objective,
    read_rewrite,
    rewrites_of,
)


def body(name: str, created: str = "", **spec: Any) -> bytes:
    meta = {"name": name, "creationTimestamp": created or None}
    return json.dumps({"metadata": meta, "spec": {"poolRef": {"name": "pool"}, **spec}}).encode()


def rule(*targets: tuple[str, int | None], models: tuple[str, ...] = ()) -> dict[str, Any]:
    return {
        "matches": [{"model": {"type": "Exact", "value": model}} for model in models],
        "targets": [
            {"modelRewrite": model} | ({} if weight is None else {"weight": weight})
            for model, weight in targets
        ],
    }


def test_an_objective() -> None:
    objective = read_objective(body("batch", priority=-5))
    assert (objective.name, objective.priority) == ("batch", -5)
    assert objective.pool == PoolRef("pool", "inference.networking.k8s.io", "InferencePool")


@pytest.mark.parametrize("spec", [{}, {"priority": None}])
def test_an_objective_without_a_priority(spec: dict[str, Any]) -> None:
    assert read_objective(body("plain", **spec)).priority == 0


def test_weights_are_given_for_all_targets_or_for_none() -> None:
    (weighed,) = read_rewrite(body("r", rules=[rule(("a", 1), ("b", MAX_WEIGHT), models=("m",))])).rules
    assert (weighed.models, weighed.targets) == (("m",), WeightedModels(("a", "b"), (1, MAX_WEIGHT)))
    (even,) = read_rewrite(body("r", rules=[rule(("a", None), ("b", None))])).rules
    assert (even.models, even.targets) == ((), WeightedModels(("a", "b"), (1, 1)))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (rule(("a", 1), ("b", None)), "all have weights, or none"),
        (rule(("a", 0)), "a weight is not from 1"),
        (rule(("a", MAX_WEIGHT + 1)), "a weight is not from 1"),
        (rule(("", 1)), "a target without a name"),
        (rule(), "a rule without a target"),
        (rule(("a", 1), models=("",)), "something else than a model's exact name"),
        ({"matches": [{"model": {"type": "Prefix", "value": "a"}}]}, "something else than"),
    ],
)
def test_rules_that_cannot_be(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ApiFormatError, match=f"^r: .*{said}"):
        read_rewrite(body("r", rules=[wrong]))


@pytest.mark.parametrize("data", [b"[]", b"{}", b"{", b'{"metadata": {"name": 1}}'])
def test_what_is_no_object(data: bytes) -> None:
    for read in (name_in, read_objective, read_rewrite):
        with pytest.raises(ApiFormatError):
            read(data)


def test_a_priority_beyond_32_bits() -> None:
    with pytest.raises(ApiFormatError, match="32-bit"):
        read_objective(body("o", priority=2**31))


def test_the_older_object_then_the_earlier_rule_counts() -> None:
    old = read_rewrite(
        body("z", "2026-01-01T00:00:00Z", rules=[rule(("old", 1), models=("m",)), rule(("rest", 1))])
    )
    new = read_rewrite(
        body(
            "a",
            "2026-02-01T00:00:00Z",
            rules=[
                rule(("new", 1), models=("m", "n")),
                rule(("late", 1), models=("n",)),
                rule(("last", 1)),
            ],
        )
    )
    said = rewrites_of([new, old])
    drawn = {model: said.targets(model) for model in ("m", "n", "other")}
    assert {model: found and found.models for model, found in drawn.items()} == {
        "m": ("old",),
        "n": ("new",),
        "other": ("rest",),
    }
