"""The scorer policy: whoever the profile chose is the one that is booked."""

import dataclasses
from typing import Any

import msgspec

from epp.config.model import Config
from epp.config.pickerconfig import read_picker_body
from epp.config.tree import Fields, read_document
from epp.core.endpoints import Role
from epp.core.router import LoadSample, WorkerRank

from .stage import Spine, configured, endpoint, pair, tokens_of, words


def scoring(document: dict[str, Any] | None = None, **routing: Any) -> Config:
    config = configured(policy="scorers", **routing)
    if document is None:
        return config
    fields = Fields(read_document(msgspec.json.encode(document).decode(), "f"), "", "f")
    return dataclasses.replace(config, picker=read_picker_body(fields, "f"))


PREFIX = {
    "plugins": [{"type": "prefix-cache-scorer"}, {"type": "max-score-picker"}],
    "schedulingProfiles": [{"name": "default", "plugins": [{"pluginRef": "prefix-cache-scorer"}]}],
}


async def test_the_scored_worker_is_booked() -> None:
    spine = Spine(config=scoring(PREFIX))
    spine.stored(2, tokens_of(words(40)))
    picked = await spine.picked(words(40))
    assert picked.destinations == ("10.0.0.2:8000",)
    assert [load.active_requests for load in spine.router.loads()] == [0, 1]
    (shown,) = spine.recent.newest(1)
    assert shown["policy"] == "scorers"
    assert {row["worker_id"]: row["total"] for row in shown["scores"]} == {1: 0.0, 2: 1.0}
    assert len(shown["candidates"]) == 2


async def test_fallbacks_are_the_next_best() -> None:
    spine = Spine(endpoint(1), endpoint(2), endpoint(3), config=scoring(PREFIX, fallback_endpoints=1))
    spine.stored(3, tokens_of(words(40)))
    spine.stored(2, tokens_of(words(20)))
    assert (await spine.picked(words(40))).destinations == ("10.0.0.3:8000", "10.0.0.2:8000")


async def test_the_default_profile_picks() -> None:
    spine = Spine(config=scoring())
    spine.stored(2, tokens_of(words(40)))
    assert (await spine.picked(words(40))).destinations == ("10.0.0.2:8000",)


async def test_nobody_eligible_is_the_routers_word() -> None:
    spine = Spine(config=scoring(busy_prefill_tokens=10))
    spine.pool()
    assert (await spine.pick()).status == 503
    spine.pool(endpoint(1))
    await spine.picked(words(40))
    assert (await spine.pick(words(40, "v"))).status == 429
    pin = {"x-dynamo-worker-instance-id": "9"}
    assert (await spine.pick(headers=pin)).status == 400


async def test_a_pair_is_chosen_and_booked() -> None:
    document = {
        "plugins": [
            {"type": "prefill-filter"},
            {"type": "decode-filter"},
            {"type": "prefix-cache-scorer"},
            {"type": "max-score-picker"},
            {"type": "always-disagg-pd-decider"},
            {
                "type": "disagg-profile-handler",
                "parameters": {"deciders": {"prefill": "always-disagg-pd-decider"}},
            },
        ],
        "schedulingProfiles": [
            {"name": name, "plugins": [{"pluginRef": f"{name}-filter"}, {"pluginRef": "prefix-cache-scorer"}]}
            for name in ("prefill", "decode")
        ],
    }
    spine = Spine(*pair(), endpoint(3, role=Role.PREFILL), config=scoring(document))
    spine.stored(3, tokens_of(words(40)))
    told = dict((await spine.picked(words(44))).set_headers)
    assert told["x-dynamo-worker-instance-id"] == "2"
    assert told["x-dynamo-prefill-instance-id"] == "3"
    busy = {load.worker.worker_id: load.active_prefill_tokens for load in spine.router.loads()}
    assert busy == {1: 0, 2: 0, 3: 4}


async def test_stale_loads_are_unknown_to_scorers() -> None:
    spine = Spine(config=scoring())
    spine.fleet.update_load(WorkerRank(1, 0), LoadSample(9, 9, 0.9), spine.now_s - 60)
    spine.fleet.update_load(WorkerRank(2, 0), LoadSample(0, 0, 0.0), spine.now_s)
    page = await spine.inspector.explain(
        "/v1/chat/completions", {}, b'{"model":"llama","messages":[{"role":"user","content":"x"}]}'
    )
    assert {row["worker_id"]: row["load_known"] for row in page["scores"]} == {1: False, 2: True}


async def test_session_tokens_reach_the_answer_for_the_client() -> None:
    document = {
        "plugins": [{"type": "session-affinity-scorer"}, {"type": "max-score-picker"}],
        "schedulingProfiles": [{"name": "default", "plugins": [{"pluginRef": "session-affinity-scorer"}]}],
    }
    spine = Spine(config=scoring(document))
    first = await spine.picked()
    assert first.response_headers
    for _ in range(5):
        again = await spine.picked(headers=dict(first.response_headers))
        assert again.destinations == first.destinations
