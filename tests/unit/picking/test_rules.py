"""What the pool's owners say, applied to a request."""

import dataclasses
from collections import Counter

import msgspec
import pytest

from epp.config.model import ModelConfig, ServerConfig, TokenizeConfig
from epp.core.outcomes import Picked, PickInput
from epp.core.poolrules import Rewrites, WeightedModels

from .stage import CONFIG, MODEL, Spine, chat, endpoint

TWO = dataclasses.replace(
    CONFIG, tokenize=TokenizeConfig(models=(ModelConfig(MODEL, "unused"), ModelConfig("small", "unused")))
)
TO_SMALL = Rewrites({"chat": WeightedModels(("small",), (1,))})
OBJECTIVE = {"x-llm-d-inference-objective": "batch"}


def priorities(spine: Spine) -> dict[str, float]:
    """Requests by the sign of their priority."""
    counted = Counter[str]()
    for metric in spine.catalog.registry.collect():
        for sample in metric.samples:
            if sample.name.endswith("_request_total") and "priority" in sample.labels:
                counted[sample.labels["priority"]] += int(sample.value)
    return dict(counted)


class TestPriority:
    async def test_an_objective_has_its_owners_priority_whatever_the_client_asks(self) -> None:
        spine = Spine()
        spine.rules.priorities = {"batch": -1}
        await spine.picked(headers={**OBJECTIVE, "x-dynamo-request-priority": "9"})
        assert priorities(spine) == {"-1": 1}

    async def test_an_unknown_objective_changes_nothing(self) -> None:
        spine = Spine()
        await spine.picked(headers={**OBJECTIVE, "x-dynamo-request-priority": "9"})
        assert priorities(spine) == {"1": 1}

    async def test_a_client_that_is_not_trusted_names_no_objective(self) -> None:
        spine = Spine(config=dataclasses.replace(CONFIG, server=ServerConfig()))
        spine.rules.priorities = {"batch": -1}
        await spine.picked(headers=OBJECTIVE)
        assert priorities(spine) == {"0": 1}


class TestRewriting:
    async def test_worker_tokens_and_body_are_those_of_the_target(self) -> None:
        spine = Spine(
            endpoint(1, labels={"model": MODEL}), endpoint(2, labels={"model": "small"}), config=TWO
        )
        spine.rules.rewrites = TO_SMALL
        asked = chat("hello", model="chat", temperature=0.50)
        picked = await spine.picker.pick(asked)
        assert isinstance(picked, Picked)
        assert picked.destinations == ("10.0.0.2:8000",)
        assert spine.tokenizer.asked[0][0] == "small"
        assert asked.body is not None
        assert picked.body == asked.body.replace(b'"chat"', b'"small"')
        assert picked.response_headers[-1] == ("x-llm-d-model-name-rewrite", "small")
        assert picked.client_model == "chat"
        assert picked.remove_headers == ("accept-encoding",)

    async def test_a_body_that_names_the_target_already_is_not_drawn_again(self) -> None:
        spine = Spine()
        spine.rules.rewrites = Rewrites(others=WeightedModels(("gone",), (1,)))
        asked = chat("hello", headers={"x-llm-d-model-name-rewrite": "forced"})
        replaced = PickInput("POST", asked.path, asked.headers, asked.body, client_model="chat")
        picked = await spine.picker.pick(replaced)
        assert isinstance(picked, Picked)
        assert (picked.body, picked.client_model, picked.remove_headers) == (None, None, ())
        assert picked.response_headers[-1] == ("x-llm-d-model-name-rewrite", MODEL)
        assert spine.tokenizer.asked[0][0] == MODEL
        assert spine.recent.newest(1)[0]["model"] == "chat"
        names = {"model_name": "chat", "target_model_name": MODEL, "fairness_id": "default-flow"}
        assert spine.value("llm_d_epp_request_total", priority="0", **names) == 1

    @pytest.mark.parametrize("name", ["a\r\nset-cookie: x", "modèle"])
    async def test_a_name_that_no_header_can_hold_is_not_told(self, name: str) -> None:
        spine = Spine()
        spine.rules.rewrites = Rewrites(others=WeightedModels((name,), (1,)))
        picked = await spine.picked()
        assert msgspec.json.decode(picked.body or b"")["model"] == name
        assert not picked.response_headers

    async def test_other_names_stay(self) -> None:
        spine = Spine()
        spine.rules.rewrites = TO_SMALL
        picked = await spine.picked()
        assert (picked.body, picked.client_model, picked.remove_headers) == (None, None, ())
        assert not picked.response_headers

    async def test_nobody_stands_in_for_a_name_of_any_length(self) -> None:
        spine = Spine()
        spine.rules.rewrites = Rewrites(others=WeightedModels((MODEL,), (1,)))
        picked = await spine.picker.pick(chat("hi", model="m" * 513))
        assert isinstance(picked, Picked)
        assert (picked.body, picked.client_model) == (None, None)
        forced = {"x-llm-d-model-name-rewrite": "forced"}
        picked = await spine.picker.pick(chat("hi", model="m" * 513, headers=forced))
        assert isinstance(picked, Picked)
        assert picked.body is not None
        assert picked.client_model is None
        assert (await spine.picker.pick(chat("hi", model="m" * 512))).client_model == "m" * 512  # type: ignore[union-attr]

    async def test_targets_share_by_weight(self) -> None:
        spine = Spine()
        spine.rules.rewrites = Rewrites(others=WeightedModels(("a", "b"), (1, 999_999)))
        drawn = [await spine.picked() for _ in range(20)]
        models = Counter(msgspec.json.decode(picked.body or b"")["model"] for picked in drawn)
        assert models["b"] >= 18, "twice 'a' of 20 happens once in five thousand million runs"

    async def test_a_header_that_forces_a_model_goes_before_the_rules(self) -> None:
        spine = Spine()
        spine.rules.rewrites = Rewrites(others=WeightedModels(("ruled",), (1,)))
        picked = await spine.picked(headers={"x-llm-d-model-name-rewrite": MODEL})
        assert picked.body is None
        forced = await spine.picked(headers={"x-llm-d-model-name-rewrite": "forced"})
        assert msgspec.json.decode(forced.body or b"")["model"] == "forced"

    async def test_a_request_without_a_model_is_left_alone(self) -> None:
        spine = Spine()
        spine.rules.rewrites = Rewrites(others=WeightedModels(("ruled",), (1,)))
        headers = {"x-llm-d-model-name-rewrite": "forced"}
        for sent in ({}, headers):
            picked = await spine.picker.pick(PickInput("POST", "/upload", sent, b"\x00not JSON"))
            assert isinstance(picked, Picked)
            assert picked.body is None
            assert not picked.response_headers
