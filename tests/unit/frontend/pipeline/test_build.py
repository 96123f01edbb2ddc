"""``build_pipeline``: the row of every combination of knobs, and the combinations that are refused."""

import itertools
from typing import Any

import pytest

from epp.config.errors import ConfigError
from epp.config.model import Config, ModelConfig, TokenizeConfig
from epp.core.endpoints import EngineKind
from frontend.config.model import DisaggConfig, FrontendConfig, PipelineConfig, ToleranceConfig
from frontend.http.api import Failure, UpstreamError
from frontend.pipeline.build import build_pipeline
from frontend.pipeline.knobs import CONTRADICTIONS, Routing, knobs_of
from tests.unit.frontend.fakes import FakeReply, FakeResponse, FakeUpstream, call, components, worker
from tests.unit.picking.stage import Spine

MODEL = Config(tokenize=TokenizeConfig(models=(ModelConfig("m", "m"),)))


class Decoding:
    """A tokenizer that could turn ids into text."""

    async def tokenize(self, model: str, prompt: Any) -> Any:
        raise NotImplementedError

    async def decoder(self, model: str) -> None:
        return None


def configured(
    *, model: bool = False, disagg: DisaggConfig | None = None, tolerance: Any = None, **pipeline: Any
) -> FrontendConfig:
    return FrontendConfig(
        pipeline=PipelineConfig(**pipeline),
        tolerance=ToleranceConfig(**(tolerance or {})),
        disagg=disagg or DisaggConfig(),
        picker=MODEL if model else Config(),
    )


def parts(*endpoints: Any, picker: bool = True) -> Any:
    return components(*endpoints, picker=Spine().picker if picker else None, tokenizer=Decoding())


REFUSED: dict[str, tuple[FrontendConfig, tuple[str, str]]] = {
    "direct-mode-and-choosing": (
        configured(router_mode="direct", routing="discover"),
        ("router_mode direct", "routing discover"),
    ),
    "direct-and-migration": (
        configured(router_mode="direct", tolerance={"migration_limit": 3}),
        ("routing direct-to-known", "migration_limit 3"),
    ),
    "direct-and-queue": (
        configured(routing="direct-to-known", tolerance={"queue_max_requests": 8}),
        ("routing direct-to-known", "queue_max_requests 8"),
    ),
    "query-only-and-migration": (
        configured(routing="query-only", tolerance={"migration_limit": 1}),
        ("routing query-only", "migration_limit 1"),
    ),
    "query-only-and-queue": (
        configured(routing="query-only", tolerance={"queue_max_requests": 8}),
        ("routing query-only", "queue_max_requests 8"),
    ),
    "query-only-and-postprocess": (
        configured(routing="query-only", postprocess="frontend", model=True),
        ("routing query-only", "postprocess frontend"),
    ),
    "postprocess-without-tokenizer": (
        configured(postprocess="frontend"),
        ("postprocess frontend", "tokenize.models"),
    ),
    "postprocess-without-token-in": (
        configured(postprocess="frontend", model=True),
        ("postprocess frontend", "discovered engines"),
    ),
    "disagg-off-and-enforced": (
        configured(disagg=DisaggConfig(enabled=False, enforce=True)),
        ("disagg.enforce", "disagg.enabled"),
    ),
    "choosing-without-picker": (configured(), ("routing discover", "missing picker")),
}


@pytest.mark.parametrize("row", CONTRADICTIONS, ids=lambda row: row.name)
def test_contradictions_are_refused_with_one_sentence_naming_both(row: Any) -> None:
    config, both = REFUSED[row.name]
    pool = [worker(1, engine=EngineKind.TRITON)] if row.name == "postprocess-without-token-in" else []
    with pytest.raises(ConfigError) as caught:
        build_pipeline(config, parts(*pool, picker=row.name != "choosing-without-picker"))
    (sentence,) = caught.value.problems
    assert all(setting in sentence for setting in both)
    assert sentence.count(".") - sentence.count("tokenize.models") - sentence.count("disagg.") == 1


def test_several_contradictions_are_told_together() -> None:
    config = configured(routing="query-only", tolerance={"migration_limit": 1, "queue_max_requests": 1})
    with pytest.raises(ConfigError) as caught:
        knobs_of(config)
    assert len(caught.value.problems) == 2


@pytest.mark.parametrize("setting", ["routing", "router_mode", "postprocess"])
def test_unknown_values_are_refused_with_the_known_ones(setting: str) -> None:
    with pytest.raises(ConfigError, match=f"^{setting} 'bogus' is not known; it is one of "):
        knobs_of(configured(**{setting: "bogus"}))


@pytest.mark.parametrize(
    ("mode", "told", "routing"),
    [
        ("direct", None, Routing.DIRECT),
        ("direct", "direct-to-known", Routing.DIRECT),
        ("kv", "direct-to-known", Routing.DIRECT),
        ("kv", None, Routing.DISCOVER),
        ("round-robin", "query-only", Routing.QUERY_ONLY),
    ],
)
def test_the_router_mode_says_how_to_route_unless_told(mode: str, told: Any, routing: Routing) -> None:
    assert knobs_of(configured(router_mode=mode, routing=told)).routing is routing


@pytest.mark.parametrize(
    ("routing", "postprocess", "migration", "queue"),
    list(itertools.product(Routing, ("engine", "frontend"), (0, 2), (0, 5))),
)
def test_every_combination_is_a_row_in_order_or_refused(
    routing: Routing, postprocess: str, migration: int, queue: int
) -> None:
    config = configured(
        routing=routing,
        postprocess=postprocess,
        model=True,
        tolerance={"migration_limit": migration, "queue_max_requests": queue},
    )
    discover = routing is Routing.DISCOVER
    if not discover and (migration or queue or (routing is Routing.QUERY_ONLY and postprocess == "frontend")):
        with pytest.raises(ConfigError):
            build_pipeline(config, parts())
        return
    expected = ["rename"] * (routing is not Routing.DIRECT) + ["translate", "nvext"]
    if routing is not Routing.DIRECT:
        expected.append("query-only")
    if routing is not Routing.QUERY_ONLY:
        expected += ["postprocess"] * (postprocess == "frontend")
        expected += ["queue"] * bool(queue) + ["migration"] * bool(migration)
        expected += [f"route-{'discover' if discover else 'direct'}", "orchestrate", "forward"]
    assert list(build_pipeline(config, parts()).segments) == expected


def test_without_nvext_its_segment_is_left_out() -> None:
    assert "nvext" not in build_pipeline(configured(nvext=False), parts()).segments


def test_a_processor_that_cannot_work_is_a_configuration_error() -> None:
    config = configured(postprocess="frontend", model=True)
    with pytest.raises(ConfigError, match="postprocess=frontend needs a tokenizer"):
        build_pipeline(config, components(picker=Spine().picker))


async def test_a_request_goes_all_the_way() -> None:
    upstream = FakeUpstream()
    pipeline = build_pipeline(configured(router_mode="direct"), components(worker(1), upstream=upstream))
    assert pipeline.query is None
    reply = FakeReply()
    await pipeline.handle(call(headers={"x-dynamo-worker-instance-id": "1"}), reply)
    assert (reply.status, reply.body, reply.ended) == (200, b"{}", True)
    assert [request.host_port for request in upstream.sent] == ["10.0.0.1:8000"]
    await pipeline.close()


async def test_where_somebody_chooses_questions_are_answered() -> None:
    spine = Spine()
    pool = components(picker=spine.picker, snapshot=lambda: spine.fleet.snapshot)
    pipeline = build_pipeline(configured(), pool)
    assert pipeline.query is not None
    assert (await pipeline.query.answer(call()))["worker"]["worker_id"] in (1, 2)


async def test_a_worker_that_cannot_be_reached_costs_a_discovering_client_nothing() -> None:
    spine = Spine()
    upstream = FakeUpstream(
        lambda request: (
            UpstreamError(Failure.CONNECT, "refused")
            if request.host_port.startswith("10.0.0.1:")
            else FakeResponse()
        )
    )
    pool = components(picker=spine.picker, snapshot=lambda: spine.fleet.snapshot, upstream=upstream)
    pipeline = build_pipeline(configured(), pool)
    for _ in range(40):
        reply = FakeReply()
        await pipeline.handle(call(), reply)
        assert (reply.status, reply.ended) == (200, True)
    assert {request.host_port for request in upstream.sent} == {"10.0.0.1:8000", "10.0.0.2:8000"}
