"""Direct-to-known: names are checked, nothing is chosen, and every wrong name is a 400 that says so."""

from typing import Any

import pytest

from epp.core.endpoints import PoolSnapshot, Role
from epp.core.intent import ANY_RANK
from frontend.config.model import DisaggConfig
from frontend.errors import ApiError
from frontend.pipeline.components import EverybodyUsable
from frontend.pipeline.lost import WorkerLostError
from frontend.routing.direct import DirectRouter
from tests.unit.frontend.fakes import PAIRS, call, components, worker

WORKER = "x-dynamo-worker-instance-id"
PREFILL = "x-dynamo-prefill-instance-id"
BIG = 2**64 - 1


def router(*endpoints: Any, **disagg: Any) -> Any:
    parts = components(*(endpoints or (worker(1), worker(2, dp_size=2))))
    return DirectRouter(parts, DisaggConfig(**disagg))


async def refused(request: Any, *endpoints: Any, **options: Any) -> Any:
    with pytest.raises(ApiError) as caught:
        await router(*endpoints, **options).route(request)
    return caught.value


async def legs(request: Any, *endpoints: Any, **options: Any) -> Any:
    route = await router(*endpoints, **options).route(request)
    prefill = route.prefill and (route.prefill.endpoint.worker_id, route.prefill.rank)
    return (route.worker.endpoint.worker_id, route.worker.rank), prefill


@pytest.mark.parametrize(
    "request_",
    [
        call(headers={WORKER: "1"}),
        call(headers={WORKER: " 1 "}),
        call(headers={"x-worker-instance-id": "1"}),
        call({"nvext": {"backend_instance_id": 1}}),
        call({"nvext": {"decode_worker_id": 1}}),
        call({"nvext": {"decode_worker_id": 1, "backend_instance_id": 1}}),
        call({"routing": {"backend_instance_id": 1}}),
        call({"routing": {"decode_worker_id": 1}}),
        call(headers={"x-gateway-destination-endpoint": "10.0.0.1:8000"}),
    ],
)
async def test_names_that_find_a_worker(request_: Any) -> None:
    assert await legs(request_) == ((1, 0), None)


async def test_headers_beat_nvext_which_beats_the_body() -> None:
    body = {"nvext": {"decode_worker_id": 1, "dp_rank": 0}, "routing": {"decode_worker_id": 1, "dp_rank": 0}}
    assert await legs(call(body, {WORKER: "2", "x-dp-rank": "1"})) == ((2, 1), None)
    body["nvext"] = {"decode_worker_id": 2}
    assert await legs(call(body)) == ((2, 0), None)


async def test_an_id_beats_the_address_of_the_frontend_itself() -> None:
    headers = {WORKER: "1", "x-gateway-destination-endpoint": "10.9.9.9:80"}
    assert await legs(call(headers=headers)) == ((1, 0), None)


async def test_a_rank_nobody_named_is_the_engines_choice() -> None:
    assert await legs(call(headers={WORKER: "2"})) == ((2, ANY_RANK), None)
    assert await legs(call(headers={WORKER: "2", "x-dynamo-dp-rank": str(2**32 - 1)})) == (
        (2, ANY_RANK),
        None,
    )


WRONG = {
    "nothing": (call(), f"has to name its worker: use header `{WORKER}`"),
    "blank": (call(headers={WORKER: "  "}), "has to name its worker"),
    "unknown": (
        call(headers={WORKER: "777"}),
        f"`{WORKER}` names worker 777, which is not known; known are 1, 2",
    ),
    "unknown in nvext": (
        call({"nvext": {"backend_instance_id": 777}}),
        "`nvext.backend_instance_id` names worker 777",
    ),
    "unknown in routing": (
        call({"routing": {"decode_worker_id": 777}}),
        "`routing.decode_worker_id` names worker 777",
    ),
    "not a number": (
        call(headers={"x-worker-instance-id": "abc"}),
        "`x-worker-instance-id`: 'abc' is not a number",
    ),
    "negative": (call(headers={WORKER: "-1"}), "is not a number"),
    "float": (call(headers={WORKER: "1.0"}), "is not a number"),
    "digits of another script": (call(headers={WORKER: "\u0661"}), "is not a number"),
    "beyond 64 bits": (call(headers={WORKER: str(BIG + 1)}), f"is larger than {BIG}"),
    "beyond 64 bits in routing": (call({"routing": {"decode_worker_id": BIG + 1}}), f"is larger than {BIG}"),
    "text in routing": (
        call({"routing": {"decode_worker_id": "1"}}),
        "`routing`: Expected `int | null`, got `str` - at `$.decode_worker_id`",
    ),
    "routing is no object": (call({"routing": 7}), "`routing`: Expected `object`"),
    "unknown key in routing": (call({"routing": {"decode_worker": 1}}), "unknown field `decode_worker`"),
    "rank out of range": (
        call(headers={WORKER: "1", "x-dynamo-dp-rank": "9"}),
        "`x-dynamo-dp-rank`: dp_rank 9 is out of bounds for dp_size 1 of worker 1",
    ),
    "rank of legacy name": (
        call(headers={WORKER: "2", "x-data-parallel-rank": "2"}),
        "`x-data-parallel-rank`",
    ),
    "rank in nvext": (
        call({"nvext": {"backend_instance_id": 1, "dp_rank": 9}}),
        "`nvext.dp_rank`: dp_rank 9",
    ),
    "rank not a number": (call(headers={WORKER: "1", "x-dp-rank": "x"}), "`x-dp-rank`: 'x' is not a number"),
    "headers disagree": (
        call(headers={WORKER: "1", "x-worker-instance-id": "2"}),
        f"`{WORKER}` says 1 and header `x-worker-instance-id` says 2",
    ),
    "nvext disagrees": (
        call({"nvext": {"decode_worker_id": 1, "backend_instance_id": 2}}),
        "`nvext.decode_worker_id` says 1 and `nvext.backend_instance_id` says 2",
    ),
    "address unknown": (
        call(headers={"x-gateway-destination-endpoint": "169.254.169.254:80"}),
        "`x-gateway-destination-endpoint` is no known worker's address",
    ),
    "taint": (
        call({"nvext": {"backend_instance_id": 1, "routing_constraints": {"required_taints": ["zone=a"]}}}),
        "asks for `zone=a`, which worker 1 does not have",
    ),
    "prefill on an aggregated worker": (
        call(headers={WORKER: "1", PREFILL: "2"}),
        "whose role is aggregated",
    ),
}


@pytest.mark.parametrize("name", WRONG)
async def test_wrong_names(name: Any) -> None:
    request, said = WRONG[name]
    error = await refused(request)
    assert error.status == 400
    assert said in error.message


@pytest.mark.parametrize(
    "request_",
    [
        call(headers={WORKER: "3", PREFILL: "1"}),
        call(headers={"x-worker-instance-id": "3", "x-prefill-instance-id": "1"}),
        call({"nvext": {"decode_worker_id": 3, "prefill_worker_id": 1}}),
        call({"routing": {"backend_instance_id": 3, "prefill_worker_id": 1}}),
        call(headers={WORKER: "3", "x-prefiller-host-port": "10.0.0.1:8000"}),
        call(headers={WORKER: "3", PREFILL: "1", "x-prefiller-host-port": "10.0.0.1:8000"}),
        call(headers={WORKER: "3", PREFILL: "1", "x-prefiller-host-port": "10.9.9.9:8000"}),
    ],
)
async def test_names_that_find_a_pair(request_: Any) -> None:
    assert await legs(request_, *PAIRS) == ((3, 0), (1, 0))


WRONG_PAIRS = {
    "decode alone": (call(headers={WORKER: "3"}), "Worker 3 only decodes", "known are 1, 2"),
    "prefill alone": (call(headers={PREFILL: "1"}), "but no decode worker is named", "known are 3, 4"),
    "prefill unknown": (
        call(headers={WORKER: "3", PREFILL: "9"}),
        f"`{PREFILL}` names worker 9",
        "known are 1, 2",
    ),
    "prefill is a decoder": (
        call(headers={WORKER: "3", PREFILL: "4"}),
        "role is decode and not prefill",
        "1, 2",
    ),
    "decoder is a prefiller": (
        call(headers={WORKER: "1", PREFILL: "2"}),
        "role is prefill and not decode",
        "3, 4",
    ),
    "prefill rank": (
        call(headers={WORKER: "3", PREFILL: "1", "x-prefill-dp-rank": "1"}),
        "`x-prefill-dp-rank`: prefill_dp_rank 1 is out of bounds for dp_size 1 of worker 1",
        "",
    ),
    "prefill rank alone": (
        call(headers={WORKER: "3", "x-dynamo-prefill-dp-rank": "0"}),
        "`x-dynamo-prefill-dp-rank` is a prefill rank, but no prefill worker is named",
        "known are 1, 2",
    ),
    "prefill rank and nothing": (
        call(headers={"x-prefill-dp-rank": "0"}),
        "`x-prefill-dp-rank` names",
        "3, 4",
    ),
    "foreign address": (
        call(headers={WORKER: "3", "x-prefiller-host-port": "evil.example:80"}),
        "`x-prefiller-host-port` is no known worker's address",
        "known are 1, 2",
    ),
    "address of a decoder": (
        call(headers={WORKER: "3", "x-prefiller-host-port": "10.0.0.4:8000"}),
        "`x-prefiller-host-port` names worker 4, whose role is decode",
        "",
    ),
    "address and id disagree": (
        call(headers={WORKER: "3", PREFILL: "1", "x-prefiller-host-port": "10.0.0.2:8000"}),
        f"`{PREFILL}` says 1 and header `x-prefiller-host-port` says 10.0.0.2:8000",
        "",
    ),
}


@pytest.mark.parametrize("name", WRONG_PAIRS)
async def test_wrong_pairs(name: Any) -> None:
    request, said, known = WRONG_PAIRS[name]
    error = await refused(request, *PAIRS)
    assert error.status == 400
    assert said in error.message
    assert known in error.message


@pytest.mark.parametrize(
    "request_",
    [
        call(headers={WORKER: "3", "x-dynamo-routing-mode": "aggregated"}),
        call({"nvext": {"decode_worker_id": 3, "annotations": ["x-bypass-remote-prefill"]}}),
    ],
)
async def test_a_decode_worker_serves_alone_where_that_was_meant(request_: Any) -> None:
    assert await legs(request_, *PAIRS) == ((3, 0), None)
    assert await legs(request_, worker(3, Role.DECODE)) == ((3, 0), None)


async def test_without_splitting_a_decode_worker_serves_alone() -> None:
    assert await legs(call(headers={WORKER: "3"}), *PAIRS, enabled=False) == ((3, 0), None)


async def test_with_a_fallback_it_serves_alone_while_there_is_no_prefill_worker() -> None:
    alone = call(headers={WORKER: "3"})
    assert await legs(alone, worker(3, Role.DECODE), decode_fallback=True) == ((3, 0), None)
    assert "only decodes" in (await refused(alone, *PAIRS, decode_fallback=True)).message
    assert (await refused(alone, worker(1, Role.PREFILL), decode_fallback=True)).status == 503


@pytest.mark.parametrize(
    ("pool", "lacks"),
    [
        ((worker(3, Role.DECODE),), "No prefill worker is known"),
        ((worker(1, Role.PREFILL),), "No decode worker is known"),
    ],
)
async def test_a_pool_that_lacks_a_role_is_not_ready(pool: Any, lacks: Any) -> None:
    error = await refused(call(headers={WORKER: "3"}), *pool)
    assert (error.status, error.message) == (503, f"Model `m` is not ready to serve requests yet. ({lacks}.)")


async def test_an_empty_pool_is_not_ready() -> None:
    empty = PoolSnapshot.of(())
    parts = components(snapshot=lambda: empty)
    with pytest.raises(ApiError) as caught:
        await DirectRouter(parts, DisaggConfig()).route(call(headers={WORKER: "3"}))
    assert (caught.value.status, caught.value.message) == (
        503,
        "Model `m` is not ready to serve requests yet. (No worker is known.)",
    )


async def test_ipv6_addresses_are_found_however_they_are_spelt() -> None:
    six = worker(6, address="fd00::6")
    for spelt in ("[fd00::6]:8000", "[fd00:0::6]:8000"):
        assert await legs(call(headers={"x-gateway-destination-endpoint": spelt}), six) == ((6, 0), None)


async def test_messages_list_a_few_of_many_workers() -> None:
    error = await refused(call(headers={WORKER: "777"}), *(worker(n) for n in range(1, 13)))
    assert error.message.endswith("known are 1, 2, 3, 4, 5, 6, 7, 8 and 4 more.")


class GivenUp(EverybodyUsable):
    """Health that leaves everybody alone."""

    def usable(self, worker_id: int) -> bool:
        return False


async def test_a_worker_that_is_left_alone_is_not_called() -> None:
    parts = components(worker(1), health=GivenUp())
    with pytest.raises(WorkerLostError) as caught:
        await DirectRouter(parts, DisaggConfig()).route(call(headers={WORKER: "1"}))
    assert (caught.value.status, caught.value.unbegun) == (503, True)
