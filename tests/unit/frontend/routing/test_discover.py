"""Discover: pins are honoured, refusals become the statuses clients know, and every booking is ended."""

import dataclasses
from typing import Any

import pytest

from epp.config.model import Config, RoutingConfig, ServerConfig
from epp.core.endpoints import Role
from epp.core.outcomes import Ending, ResponseFacts
from epp.core.poolrules import Rewrites, WeightedModels
from epp.core.requests import Api
from epp.core.router import RouterStats
from frontend.config.model import DisaggConfig, FrontendConfig, HttpConfig
from frontend.errors import ApiError
from frontend.routing.discover import DiscoverRouter
from tests.unit.frontend.fakes import call, components
from tests.unit.picking.stage import CONFIG, Spine, endpoint

WORKER = "x-dynamo-worker-instance-id"
PREFILL = "x-dynamo-prefill-instance-id"
PAIRS = (
    endpoint(1, role=Role.PREFILL),
    endpoint(2, role=Role.PREFILL),
    endpoint(3, role=Role.DECODE),
    endpoint(4, role=Role.DECODE),
)


class Failing:
    """Health that has given up on some workers."""

    def __init__(self, *worker_ids: int) -> None:
        self.worker_ids = worker_ids

    def usable(self, worker_id: int) -> bool:
        return worker_id not in self.worker_ids

    def all_usable(self) -> bool:
        return not self.worker_ids

    def sent(self, worker_id: int) -> None: ...

    def succeeded(self, worker_id: int) -> None: ...

    def failed(self, worker_id: int) -> None: ...


def router(spine: Spine, *, health: Any = None, config: Any = FrontendConfig()) -> Any:  # noqa: B008 -- frozen
    parts = components(snapshot=lambda: spine.fleet.snapshot, picker=spine.picker, health=health)
    return DiscoverRouter(spine.picker, config, parts)


def bookings(spine: Spine) -> int:
    stats: RouterStats = spine.router.stats()
    return stats.bookings


async def ids(spine: Spine, request: Any, **options: Any) -> Any:
    route = await router(spine, **options).route(request)
    return route.worker.endpoint.worker_id, route.prefill and route.prefill.endpoint.worker_id


async def refused(spine: Spine, request: Any, **options: Any) -> Any:
    with pytest.raises(ApiError) as caught:
        await router(spine, **options).route(request)
    assert bookings(spine) == 0
    return caught.value


async def test_a_route_is_booked_and_ended() -> None:
    spine = Spine()
    discover = router(spine)
    route = await discover.route(call())
    assert bookings(spine) == 1
    assert route.tokens is not None
    assert route.uncached_tokens == 1
    assert route.cached_tokens == 0
    assert route.reason.startswith("kv: ")
    discover.finish(route, Ending.ERROR, ResponseFacts())
    assert bookings(spine) == 0


async def test_a_model_that_was_drawn_is_not_drawn_again_not_even_itself() -> None:
    spine = Spine()
    spine.rules.rewrites = Rewrites({"m": WeightedModels(("other",), (1,))})
    route = await router(spine).route(call())
    assert route.picked is not None
    assert (route.picked.body, route.picked.client_model) == (None, None)


async def test_excluded_workers_are_passed_over() -> None:
    spine = Spine()
    request = call()
    request.excluded.add(1)
    assert {await ids(spine, request) for _ in range(8)} == {(2, None)}
    request.excluded.add(2)
    with pytest.raises(ApiError) as caught:
        await router(spine).route(request)
    assert caught.value.status == 503


async def test_workers_that_are_left_alone_are_passed_over_unless_all_are() -> None:
    spine = Spine()
    assert {await ids(spine, call(), health=Failing(2)) for _ in range(8)} == {(1, None)}
    assert {await ids(spine, call(), health=Failing(1, 2)) for _ in range(48)} == {(1, None), (2, None)}


@pytest.mark.parametrize(
    "request_",
    [
        call(headers={WORKER: "2"}),
        call({"nvext": {"backend_instance_id": 2}}),
        call({"routing": {"decode_worker_id": 2}}),
    ],
)
async def test_pins_are_honoured_wherever_they_stand(request_: Any) -> None:
    spine = Spine()
    assert {await ids(spine, request_) for _ in range(6)} == {(2, None)}


async def test_without_trust_pins_mean_nothing() -> None:
    spine = Spine(config=dataclasses.replace(CONFIG, server=ServerConfig()))
    config = FrontendConfig(picker=Config())
    for request in (call(headers={WORKER: "2"}), call({"nvext": {"decode_worker_id": 99}})):
        assert {await ids(spine, request, config=config) for _ in range(48)} == {(1, None), (2, None)}


async def test_a_header_outranks_nvext() -> None:
    assert await ids(Spine(), call({"nvext": {"backend_instance_id": 2}}, {"x-worker-instance-id": "1"})) == (
        1,
        None,
    )


async def test_pinned_ranks() -> None:
    spine = Spine(endpoint(1, dp_size=4))
    route = await router(spine).route(call(headers={WORKER: "1", "x-dp-rank": "3"}))
    assert route.worker.rank == 3
    assert route.worker.told_rank == 3


@pytest.mark.parametrize(
    ("request_", "worker", "prefill"),
    [
        (call(), {3, 4}, {1, 2}),
        (call({"nvext": {"backend_instance_id": 3}}), {3}, {1, 2}),
        (call(headers={WORKER: "4"}), {4}, {1, 2}),
        (call({"nvext": {"decode_worker_id": 4}}), {4}, {1, 2}),
        (call({"nvext": {"prefill_worker_id": 2}}), {3, 4}, {2}),
        (call(headers={PREFILL: "1", WORKER: "3"}), {3}, {1}),
    ],
)
async def test_pairs_within_pins(request_: Any, worker: Any, prefill: Any) -> None:
    spine = Spine(*PAIRS)
    found = [await ids(spine, request_) for _ in range(48)]
    assert {w for w, _ in found} == worker
    assert {p for _, p in found} == prefill


WRONG = {
    "unknown": (call(headers={WORKER: "12345"}), "`x-dynamo-worker-instance-id` names worker 12345"),
    "unknown in nvext": (call({"nvext": {"backend_instance_id": 12345}}), "`nvext.backend_instance_id`"),
    "not a number": (call(headers={WORKER: "abc"}), "'abc' is not a number"),
    "a prefill worker": (call({"nvext": {"backend_instance_id": 1}}), "role is prefill and not decode"),
    "no prefill worker": (call({"nvext": {"prefill_worker_id": 3}}), "role is decode and not prefill"),
    "rank": (call(headers={WORKER: "3", "x-dp-rank": "9"}), "dp_rank 9 is out of bounds for dp_size 1"),
    "taints": (
        call({"nvext": {"routing_constraints": {"required_taints": ["gpu=h100"]}}}),
        "asks for `gpu=h100`, which any worker does not have together; known are none",
    ),
}


@pytest.mark.parametrize("name", WRONG)
async def test_wrong_wishes(name: Any) -> None:
    request, said = WRONG[name]
    error = await refused(Spine(*PAIRS), request)
    assert error.status == 400
    assert said in error.message


async def test_taints_that_somebody_has_are_found() -> None:
    spine = Spine(endpoint(1), endpoint(2, labels={"gpu": "h100"}))
    request = call({"nvext": {"routing_constraints": {"required_taints": ["gpu=h100"]}}})
    assert await ids(spine, request) == (2, None)


@pytest.mark.parametrize(
    ("pool", "lacks"),
    [((PAIRS[2], PAIRS[3]), "prefill"), ((PAIRS[0],), "decode")],
)
async def test_a_pool_that_lacks_a_role_is_not_ready(pool: Any, lacks: Any) -> None:
    error = await refused(Spine(*pool), call())
    assert (error.status, error.message) == (
        503,
        f"Model `m` is not ready to serve requests yet. (No {lacks} worker is known.)",
    )


async def test_with_a_fallback_decode_workers_serve_alone_only_while_they_are_alone() -> None:
    config = FrontendConfig(picker=CONFIG, disagg=DisaggConfig(decode_fallback=True))
    assert await ids(Spine(PAIRS[2]), call(), config=config) == (3, None)
    _, prefill = await ids(Spine(*PAIRS), call(), config=config)
    assert prefill in {1, 2}
    assert (await refused(Spine(PAIRS[0]), call(), config=config)).status == 503


async def test_a_pin_on_a_worker_that_does_not_serve_the_model() -> None:
    request = call(headers={WORKER: "1"})
    request.excluded.add(1)
    error = await refused(Spine(), request)
    assert (error.status, error.message) == (
        400,
        "The request names worker 1, which does not serve model `m`.",
    )


async def test_a_pinned_worker_that_failed_is_told_as_a_pool_without_it() -> None:
    request = call(headers={WORKER: "1"})
    request.excluded.add(1)
    request.facts.dispatched_s = 1.0
    assert (await refused(Spine(), request)).status == 503


async def test_what_has_no_decode_is_served_by_any_worker() -> None:
    embeddings = call({"input": "hello"}, api=Api.EMBEDDINGS, path="/v1/embeddings")
    assert await ids(Spine(PAIRS[2]), embeddings) == (3, None)


async def test_everybody_busy_is_the_configured_status() -> None:
    busy = RoutingConfig(policy="kv", core="python", busy_prefill_tokens=0)
    spine = Spine(config=dataclasses.replace(CONFIG, routing=busy))
    discover = router(spine, config=FrontendConfig(http=HttpConfig(overload_status=529, retry_after_s=7)))
    text = " ".join(f"w{n:02}" for n in range(40))
    for _ in range(2):
        await discover.route(call({"messages": [{"role": "user", "content": text}]}))
    with pytest.raises(ApiError) as caught:
        await discover.route(call())
    error = caught.value
    assert (error.status, error.type, error.headers) == (529, "Overloaded", (("retry-after", "7"),))
    assert error.message == "Service temporarily overloaded"
