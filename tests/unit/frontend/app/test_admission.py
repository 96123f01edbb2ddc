from typing import Any

import pytest

from epp.core.endpoints import Endpoint, PoolSnapshot, Role
from epp.core.poolrules import PoolRules, Rewrites, WeightedModels
from epp.core.requests import Api
from frontend.app.admission import Admission
from frontend.body import Body
from frontend.errors import ApiError
from frontend.nvext import NvExtRequest
from frontend.pipeline.call import Call
from frontend.serving.catalogue import ModelCatalogue, WorkerModels
from frontend.serving.modelpage import ListedModel
from frontend.serving.rewriting import Rewriting


def endpoint(number: int, role: Role = Role.AGGREGATED) -> Endpoint:
    return Endpoint(f"w{number}", "10.0.0.1", 8000 + number, number, role=role)


def call(model: str) -> Call:
    return Call(Api.CHAT, "/", {}, Body(b"{}"), "r", 0.0, model, stream=False, nvext=NvExtRequest())


class Stage:
    def __init__(self, *endpoints: Endpoint, direct: bool = False, split: bool = True) -> None:
        self.snapshot = PoolSnapshot.of(endpoints)
        self.catalogue = ModelCatalogue((), lambda: self.snapshot, lambda _: False, started=0)
        self.refreshes = 0
        self.found: list[tuple[Endpoint, str]] = []
        self.rules = PoolRules()
        rewriting = Rewriting(self.rules, trusted=True)
        self.admission = Admission(self.catalogue, self._refresh, rewriting, direct=direct, split=split)

    def say(self, endpoint: Endpoint, model: str) -> None:
        said = WorkerModels(endpoint.host_port, (ListedModel(model),))
        self.catalogue.learn(endpoint.worker_id, said)

    async def _refresh(self) -> None:
        self.refreshes += 1
        for worker, model in self.found:
            self.say(worker, model)

    async def refused(self, model: str) -> ApiError:
        with pytest.raises(ApiError) as raised:
            await self.admission.admit(call(model))
        return raised.value


async def test_an_unknown_model_is_asked_for_once_more() -> None:
    one = endpoint(1)
    stage = Stage(one)
    stage.say(one, "m")
    assert (await stage.refused("fresh")).status == 404
    assert stage.refreshes == 1
    stage.found = [(one, "fresh")]
    await stage.admission.admit(call("fresh"))


async def test_a_known_model_costs_no_question() -> None:
    one = endpoint(1)
    stage = Stage(one)
    stage.say(one, "m")
    await stage.admission.admit(call("m"))
    assert stage.refreshes == 0


async def test_workers_of_other_models_are_passed_over() -> None:
    one, two = endpoint(1), endpoint(2)
    stage = Stage(one, two)
    stage.say(one, "m")
    stage.say(two, "n")
    asked = call("m")
    await stage.admission.admit(asked)
    assert asked.excluded == {2}


@pytest.mark.parametrize(("more", "status"), [({}, 503), ({"split": False}, 0), ({"direct": True}, 0)])
async def test_half_a_pool(more: dict[str, Any], status: int) -> None:
    stage = Stage(endpoint(1, Role.DECODE), **more)
    if status:
        assert (await stage.refused("m")).status == status
    else:
        await stage.admission.admit(call("m"))


async def test_a_model_that_was_ready_need_not_stay_so() -> None:
    prefill, decode = endpoint(1, Role.PREFILL), endpoint(2, Role.DECODE)
    stage = Stage(prefill, decode)
    for _ in range(2):
        await stage.admission.admit(call("m"))
    stage.snapshot = PoolSnapshot.of((decode,))
    assert (await stage.refused("m")).status == 503
    stage.snapshot = PoolSnapshot.of((prefill, decode))
    await stage.admission.admit(call("m"))
    stage.say(prefill, "another")
    assert (await stage.refused("m")).status == 503


async def test_names_longer_than_any_are_not_looked_for() -> None:
    stage = Stage(endpoint(1))  # has not said what it serves
    await stage.admission.admit(call("m" * 4096))
    assert (await stage.refused("m" * 4097)).status == 404
    assert stage.refreshes == 0


async def test_a_sidecar_asks_nothing() -> None:
    stage = Stage(direct=True)
    await stage.admission.admit(call("whatever"))
    assert stage.refreshes == 0


class TestRewriting:
    """A name that stands for another is looked up as the other."""

    async def test_the_model_that_answers_is_the_one_that_is_looked_up(self) -> None:
        one, two = endpoint(1), endpoint(2)
        stage = Stage(one, two)
        stage.say(one, "m")
        stage.say(two, "small")
        stage.rules.rewrites = Rewrites({"chat": WeightedModels(("small",), (1,))})
        asked = call("chat")
        await stage.admission.admit(asked)
        assert (asked.model, asked.client_model, asked.asked_model) == ("small", "chat", "chat")
        assert asked.body.get("model", str) == "small"
        assert asked.excluded == {1}

    async def test_it_is_drawn_once(self) -> None:
        one = endpoint(1)
        stage = Stage(one)
        stage.say(one, "small")
        stage.rules.rewrites = Rewrites(others=WeightedModels(("small",), (1,)))
        asked = call("chat")
        await stage.admission.admit(asked)
        stage.rules.rewrites = Rewrites(others=WeightedModels(("gone",), (1,)))
        await stage.admission.admit(asked)
        assert (asked.model, asked.client_model) == ("small", "chat")

    async def test_other_names_stay(self) -> None:
        one = endpoint(1)
        stage = Stage(one)
        stage.say(one, "m")
        stage.rules.rewrites = Rewrites({"chat": WeightedModels(("small",), (1,))})
        asked = call("m")
        body = asked.body
        await stage.admission.admit(asked)
        assert (asked.model, asked.client_model, asked.asked_model) == ("m", None, "m")
        assert asked.body is body

    async def test_a_target_that_nobody_serves_is_not_found(self) -> None:
        one = endpoint(1)
        stage = Stage(one)
        stage.say(one, "chat")
        stage.rules.rewrites = Rewrites({"chat": WeightedModels(("small",), (1,))})
        assert (await stage.refused("chat")).status == 404

    @pytest.mark.parametrize("trusted", [False, True])
    async def test_a_trusted_header_goes_before_the_rules(self, trusted: bool) -> None:
        rules = PoolRules()
        rules.rewrites = Rewrites({"chat": WeightedModels(("ruled",), (1,))})
        asked = call("chat")
        asked.headers = {"x-llm-d-model-name-rewrite": "forced"}
        Rewriting(rules, trusted=trusted).apply(asked)
        assert (asked.model, asked.client_model) == ("forced" if trusted else "ruled", "chat")

    async def test_where_workers_are_named_nothing_is_rewritten(self) -> None:
        stage = Stage(endpoint(1), direct=True)
        stage.rules.rewrites = Rewrites({"chat": WeightedModels(("small",), (1,))})
        asked = call("chat")
        await stage.admission.admit(asked)
        assert (asked.model, asked.client_model) == ("chat", None)
