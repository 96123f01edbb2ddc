from typing import Any

import pytest

from epp.core.endpoints import Endpoint, PoolSnapshot, Role
from epp.core.requests import Api
from frontend.app.admission import Admission
from frontend.body import Body
from frontend.errors import ApiError
from frontend.nvext import NvExtRequest
from frontend.pipeline.call import Call
from frontend.serving.catalogue import ModelCatalogue, WorkerModels
from frontend.serving.modelpage import ListedModel


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
        self.admission = Admission(self.catalogue, self._refresh, direct=direct, split=split)

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
