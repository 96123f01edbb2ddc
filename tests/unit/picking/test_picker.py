"""A request from headers and body to an answer."""

import dataclasses
from typing import Any

import msgspec
import pytest

from epp.config.model import ModelConfig, ServerConfig, TokenizeConfig
from epp.core.endpoints import Role, WorkerRank
from epp.core.outcomes import DropReason, Ending, Picked, PickInput, Refused, ResponseFacts
from epp.core.requests import TokenPrompt
from epp.wire.enginemetrics import LoraFacts, WorkerFacts

from .stage import CONFIG, MODEL, Spine, chat, configured, endpoint, pair, tokens_of, u32, words


def headers_of(picked: Picked) -> dict[str, str]:
    return dict(picked.set_headers)


class TestChoice:
    async def test_goes_to_the_worker_that_holds_the_prompt(self) -> None:
        spine = Spine()
        spine.stored(2, tokens_of(words(40)))
        picked = await spine.picked(words(40))
        assert picked.destinations == ("10.0.0.2:8000",)
        (shown,) = spine.recent.newest(1)
        assert (shown["cached_tokens"], shown["prompt_tokens"]) == (
            36,
            40,
        )  # the last token is always computed

    async def test_tells_the_worker_who_was_chosen(self) -> None:
        spine = Spine(endpoint(7, dp_size=2))
        told = headers_of(await spine.picked(headers={"x-dynamo-worker-instance-id": "7", "x-dp-rank": "1"}))
        assert told["x-dynamo-worker-instance-id"] == "7"
        assert told["x-dynamo-dp-rank"] == told["x-data-parallel-rank"] == "1"
        assert told["x-dynamo-routing-mode"] == "aggregated"

    async def test_one_rank_gets_no_rank_header(self) -> None:
        assert "x-data-parallel-rank" not in headers_of(await Spine().picked())

    async def test_split_requests_name_the_pair(self) -> None:
        spine = Spine(*pair())
        picked = await spine.picked(words(20))
        told = headers_of(picked)
        assert picked.destinations == ("10.0.0.2:8000",)
        assert told["x-dynamo-prefill-instance-id"] == "1"
        assert told["x-prefiller-host-port"] == "10.0.0.1:8000"
        assert told["x-dynamo-routing-mode"] == "disaggregated"
        assert spine.sent == [WorkerRank(1, 0)]

    async def test_a_client_can_decline_the_split(self) -> None:
        spine = Spine(*pair())
        told = headers_of(await spine.picked(words(20), nvext={"annotations": ["x-bypass-remote-prefill"]}))
        assert told["x-dynamo-routing-mode"] == "aggregated"

    async def test_the_host_port_header_can_be_left_out(self) -> None:
        spine = Spine(*pair(), config=configured(emit_prefiller_host_port=False))
        assert "x-prefiller-host-port" not in headers_of(await spine.picked(words(20)))

    async def test_fallbacks_follow_the_choice(self) -> None:
        spine = Spine(endpoint(1), endpoint(2), endpoint(3), config=configured(fallback_endpoints=1))
        spine.stored(3, tokens_of(words(40)))
        picked = await spine.picked(words(40))
        assert picked.destinations[0] == "10.0.0.3:8000"
        assert len(set(picked.destinations)) == 2

    async def test_only_prompts_that_store_a_block_are_watched_for(self) -> None:
        spine = Spine(endpoint(1))
        spine.stored(1, tokens_of(words(8)))
        await spine.picked(words(8))
        assert spine.sent == []
        await spine.picked(words(12))
        assert spine.sent == [WorkerRank(1, 0)]


class TestRefusals:
    async def test_no_endpoint_at_all(self) -> None:
        spine = Spine()
        spine.pool()
        refused = await spine.pick()
        assert (refused.status, refused.reason) == (503, DropReason.NO_ENDPOINTS)

    async def test_a_bad_body(self) -> None:
        spine = Spine()
        refused = await spine.picker.pick(PickInput("POST", "/v1/chat/completions", {}, b"{"))
        assert isinstance(refused, Refused)
        assert (refused.status, refused.reason) == (400, DropReason.BAD_REQUEST)
        assert spine.total("llm_d_epp_request_error_total") == 1

    async def test_everybody_busy(self) -> None:
        spine = Spine(endpoint(1), config=configured(busy_prefill_tokens=10))
        await spine.picked(words(40))
        refused = await spine.pick(words(40, "v"))
        assert (refused.status, refused.reason) == (429, DropReason.SATURATED)
        assert refused.headers == (("retry-after", "1"),)

    async def test_retry_after_can_be_left_out(self) -> None:
        config = dataclasses.replace(configured(busy_prefill_tokens=10), server=ServerConfig(retry_after_s=0))
        spine = Spine(endpoint(1), config=config)
        await spine.picked(words(40))
        refused = await spine.pick(words(40, "v"))
        assert refused.headers == ()

    async def test_the_books_are_full(self) -> None:
        spine = Spine(bookings=1)
        await spine.picked()
        refused = await spine.pick()
        assert (refused.status, refused.reason) == (429, DropReason.SATURATED)
        assert len(spine.active) == 1

    @pytest.mark.parametrize(
        ("worker", "rank", "says"), [("9", "0", "not known"), ("1", "3", "out of range")]
    )
    async def test_a_pin_that_cannot_be(self, worker: str, rank: str, says: str) -> None:
        refused = await Spine().pick(
            headers={"x-dynamo-worker-instance-id": worker, "x-dynamo-dp-rank": rank}
        )
        assert (refused.status, refused.reason) == (400, DropReason.BAD_REQUEST)
        assert says in refused.message

    async def test_untrusted_pins_are_ignored(self) -> None:
        config = dataclasses.replace(CONFIG, server=ServerConfig())
        spine = Spine(config=config)
        outcome = await spine.pick(nvext={"backend_instance_id": 9})
        assert isinstance(outcome, Picked)

    async def test_an_empty_subset(self) -> None:
        spine = Spine()
        refused = await spine.pick(subset=())
        assert (refused.status, refused.reason) == (503, DropReason.NO_ENDPOINTS)
        assert spine.tokenizer.asked == []  # nobody could use the tokens

    @pytest.mark.parametrize(
        "fields",
        [
            {"router_config_override": {"router_temperature": 1e300}},
            {"router_config_override": {"router_temperature": -1}},
            {"router_config_override": {"overlap_score_credit": -5, "prefill_load_scale": 1e308}},
            {"nvext": {"agent_hints": {"osl": 2**63}}},
            {"nvext": {"agent_hints": {"osl": -3}}},
            {"nvext": {"backend_instance_id": 2**64 - 1, "dp_rank": 2**32 - 1}},
            {"nvext": {"routing_constraints": {"preferred_taints": {"a=b": 1e300}}}},
            {"nvext": {"token_data": []}},
        ],
    )
    async def test_no_value_of_a_client_is_a_defect_of_ours(self, fields: dict[str, Any]) -> None:
        outcome = await Spine().pick(**fields)
        assert isinstance(outcome, Picked) or outcome.status == 400


class TestCandidates:
    async def test_the_subset_is_honoured(self) -> None:
        spine = Spine()
        spine.stored(2, tokens_of(words(40)))
        picked = await spine.picked(words(40), subset=("10.0.0.1:8000",))
        assert picked.destinations == ("10.0.0.1:8000",)

    async def test_without_a_body_nothing_is_booked(self) -> None:
        spine = Spine()
        outcome = await spine.picker.pick(PickInput("GET", "/v1/models", {}, None, ("10.0.0.2",)))
        assert isinstance(outcome, Picked)
        assert outcome.destinations == ("10.0.0.2:8000",)
        assert outcome.booking is None
        assert (len(spine.active), spine.router.stats().bookings) == (0, 0)
        spine.picker.finish(outcome, Ending.COMPLETED, ResponseFacts())
        assert headers_of(outcome).get("x-epp-degraded") is None  # nothing was missing

    async def test_several_models_go_by_label(self) -> None:
        models = TokenizeConfig(models=(ModelConfig("a", "x"), ModelConfig("b", "x", aliases=("bee",))))
        config = dataclasses.replace(CONFIG, tokenize=models)
        spine = Spine(endpoint(1, labels={"model": "a"}), endpoint(2, labels={"model": "b"}), config=config)
        assert (await spine.picked(model="bee")).destinations == ("10.0.0.2:8000",)
        assert (await spine.picked(model="a")).destinations == ("10.0.0.1:8000",)
        refused = await spine.pick(model="a", subset=("10.0.0.2",))
        assert refused.status == 503
        assert isinstance(await spine.pick(model="unknown"), Picked)


class TestIdentity:
    async def test_another_name_is_an_adapter_on_the_only_model(self) -> None:
        spine = Spine()
        spine.stored(1, tokens_of(words(40)), lora="tuned")
        await spine.picked(words(40), model="tuned")
        assert spine.tokenizer.asked[0][0] == MODEL
        assert spine.recent.newest(1)[0]["cached_tokens"] == 36
        await spine.picked(words(40))
        assert spine.recent.newest(1)[0]["cached_tokens"] == 0

    async def test_an_alias_is_an_adapter_once_a_page_lists_it(self) -> None:
        models = TokenizeConfig(models=(ModelConfig(MODEL, "x", aliases=("tuned",)),))
        spine = Spine(endpoint(1), config=dataclasses.replace(CONFIG, tokenize=models))
        spine.stored(1, tokens_of(words(40)), lora="tuned")
        await spine.picked(words(40), model="tuned")
        assert spine.recent.newest(1)[0]["cached_tokens"] == 0
        spine.fleet.worker_facts(1, WorkerFacts(lora=LoraFacts(running=frozenset({"tuned"}))))
        await spine.picked(words(40), model="tuned")
        assert spine.recent.newest(1)[0]["cached_tokens"] == 36

    @pytest.mark.parametrize(
        "asked",
        [
            {"headers": {"x-tenant-id": "acme"}},
            {"nvext": {"cache_salt": "acme"}},
            {"cache_salt": "acme"},
        ],
    )
    async def test_a_salt_is_part_of_a_block(self, asked: dict[str, Any]) -> None:
        spine = Spine()
        spine.stored(1, tokens_of(words(40)), salt="acme")
        await spine.picked(words(40), **asked)
        assert spine.recent.newest(1)[0]["cached_tokens"] == 36
        await spine.picked(words(40))
        assert spine.recent.newest(1)[0]["cached_tokens"] == 0

    async def test_token_ids_of_the_client_are_taken(self) -> None:
        spine = Spine()
        await spine.picked(nvext={"token_data": [1, 2, 3]})
        assert spine.tokenizer.asked == [(MODEL, TokenPrompt(u32(1, 2, 3)))]

    async def test_overrides_change_the_cost(self) -> None:
        spine = Spine()
        spine.stored(2, tokens_of(words(40)))
        await spine.picked(words(8, "v"), subset=("10.0.0.2",))  # worker 2 has a little load now
        assert (await spine.picker.explain(chat(words(40))))["worker"]["worker_id"] == 2
        page = await spine.picker.explain(chat(words(40), router_config_override={"overlap_score_credit": 0}))
        assert page["worker"]["worker_id"] == 1


class TestBody:
    @pytest.mark.parametrize(
        "asked", [{"headers": {"x-tenant-id": "acme"}}, {"nvext": {"cache_salt": "acme"}}]
    )
    async def test_the_engine_separates_caches_as_the_picker_does(self, asked: dict[str, Any]) -> None:
        picked = await Spine().picked("a b", **asked)
        assert picked.body is not None
        assert msgspec.json.decode(picked.body)["cache_salt"] == "acme"

    async def test_a_salt_the_engine_reads_anyway_changes_nothing(self) -> None:
        assert (await Spine().picked("a b", cache_salt="acme")).body is None
        tenant = {"x-tenant-id": "acme"}
        assert (await Spine().picked("a b", cache_salt="acme", headers=tenant)).body is None

    async def test_a_tenant_beats_the_bodys_salt_there_too(self) -> None:
        picked = await Spine().picked("a b", cache_salt="other", headers={"x-tenant-id": "acme"})
        assert picked.body is not None
        assert msgspec.json.decode(picked.body)["cache_salt"] == "acme"

    async def test_salts_stay_out_of_the_body_where_configured(self) -> None:
        spine = Spine(config=configured(inject_cache_salt=False))
        assert (await spine.picked("a b", headers={"x-tenant-id": "acme"})).body is None

    async def test_token_ids_are_spliced_in_where_configured(self) -> None:
        spine = Spine(config=configured(inject_token_data=True))
        picked = await spine.picked("a b")
        assert picked.body is not None
        assert msgspec.json.decode(picked.body)["nvext"]["token_data"] == [97, 98]

    async def test_not_where_they_stand_already_or_are_not_exact(self) -> None:
        spine = Spine(config=configured(inject_token_data=True))
        assert (await spine.picked(nvext={"token_data": [1]})).body is None
        spine.tokenizer.degraded = "loading"
        assert (await spine.picked()).body is None

    async def test_not_into_apis_without_nvext(self) -> None:
        spine = Spine(config=configured(inject_token_data=True))
        body = msgspec.json.encode({"model": MODEL, "input": "a b"})
        outcome = await spine.picker.pick(PickInput("POST", "/v1/responses", {}, body))
        assert isinstance(outcome, Picked)
        assert outcome.body is None

    async def test_untouched_otherwise(self) -> None:
        assert (await Spine().picked()).body is None


class TestIds:
    async def test_an_id_is_minted_and_passed_on(self) -> None:
        picked = await Spine().picked()
        assert len(picked.request_id) == 36
        assert headers_of(picked)["x-request-id"] == picked.request_id

    @pytest.mark.parametrize("blank", ["", "   "])
    async def test_a_blank_one_is_replaced(self, blank: str) -> None:
        picked = await Spine().picked(headers={"x-request-id": blank}, request_id=blank)
        assert headers_of(picked)["x-request-id"] == picked.request_id != blank

    async def test_the_clients_own_is_kept(self) -> None:
        picked = await Spine().picked(headers={"x-request-id": "mine"}, request_id="mine")
        assert picked.request_id == "mine"
        assert "x-request-id" not in headers_of(picked)


class TestDegraded:
    async def test_the_worker_is_told_and_it_is_counted(self) -> None:
        spine = Spine()
        spine.tokenizer.degraded = "loading"
        picked = await spine.picked()
        assert headers_of(picked)["x-epp-degraded"] == "loading"
        assert spine.value("epp_degraded_picks_total", reason="loading") == 1
        assert "degraded: loading" in picked.reason

    async def test_headers_that_cannot_be_read_are_counted(self) -> None:
        spine = Spine()
        await spine.picked(headers={"x-dynamo-request-priority": "soon"})
        assert spine.total("epp_request_header_errors_total") == 1


class TestExplain:
    async def test_it_books_counts_and_remembers_nothing(self) -> None:
        spine = Spine()
        spine.stored(1, tokens_of(words(40)))

        def seen() -> list[Any]:
            samples = [
                (s.name, s.labels, s.value) for m in spine.catalog.registry.collect() for s in m.samples
            ]
            return [samples, spine.log(), spine.router.stats(), spine.router.loads(), len(spine.recent)]

        before = seen()
        page = await spine.picker.explain(chat(words(40), headers={"x-dp-rank": "many"}))
        broken = await spine.picker.explain(PickInput("POST", "/v1/chat/completions", {}, b"{"))
        nobody = await spine.picker.explain(chat("x", subset=()))
        assert seen() == before
        assert (page["status"], page["worker"]["worker_id"], page["cached_tokens"]) == (200, 1, 36)
        assert len(page["candidates"]) == 2
        assert (broken["status"], broken["reason"]) == (400, "bad-request")
        assert (nobody["status"], nobody["reason"]) == (503, "rejected-no-endpoints")

    async def test_it_agrees_with_the_pick_that_follows(self) -> None:
        spine = Spine(endpoint(1), endpoint(2, role=Role.AGGREGATED))
        spine.stored(2, tokens_of(words(40)))
        page = await spine.picker.explain(chat(words(40)))
        picked = await spine.picked(words(40))
        assert page["worker"]["endpoint"] == picked.destinations[0]
        assert page["reason"] == picked.reason
