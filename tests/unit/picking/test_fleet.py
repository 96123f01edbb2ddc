"""The fleet keeps the router in step with discovery, pages and events."""

import msgspec
import pytest

from epp.config.model import RoutingConfig
from epp.core.endpoints import Endpoint, PoolSnapshot, WorkerRank
from epp.core.kvindex.reference import ReferenceRouter
from epp.core.router import LoadSample, RouterOptions
from epp.engine import make_router
from epp.picking.fleet import Fleet
from epp.wire.enginemetrics import LoraFacts, WorkerFacts
from epp.wire.kvevents import decode

from .stage import BLOCK, Spine, endpoint, tokens_of, words

ONE = WorkerRank(1, 0)


def resident(spine: Spine, worker: int = 1) -> int:
    return sum(load.resident_blocks for load in spine.router.loads() if load.worker.worker_id == worker)


def test_workers_come_and_go() -> None:
    spine = Spine(endpoint(1), endpoint(2))
    spine.stored(1, tokens_of(words(8)))
    spine.pool(endpoint(2), endpoint(3))
    assert [load.worker.worker_id for load in spine.router.loads()] == [2, 3]
    assert spine.fleet.states.keys() == {2, 3}
    spine.pool(endpoint(1))
    assert resident(spine) == 0


@pytest.mark.parametrize(
    "changed",
    [endpoint(1, address="10.0.0.9"), endpoint(1, port=8001), endpoint(1, kv_events=None)],
)
def test_the_same_name_elsewhere_is_another_engine(changed: Endpoint) -> None:
    spine = Spine(endpoint(1))
    spine.stored(1, tokens_of(words(8)))
    spine.pool(changed)
    assert resident(spine) == 0


def test_other_changes_keep_what_is_known() -> None:
    spine = Spine(endpoint(1))
    spine.stored(1, tokens_of(words(8)))
    spine.pool(endpoint(1, labels={"tier": "gold"}))
    assert resident(spine) == 2
    assert spine.fleet.states[1].spec.taints == {"tier=gold"}
    assert spine.fleet.states[1].spec.block_tokens == BLOCK


def test_the_page_tells_the_block_size_until_events_do() -> None:
    spine = Spine(endpoint(1))
    spine.fleet.worker_facts(1, WorkerFacts(block_tokens=544, total_blocks=100))
    assert spine.fleet.states[1].spec.block_tokens == 544
    spine.stored(1, tokens_of(words(8)))
    assert spine.fleet.states[1].spec.block_tokens == BLOCK
    assert spine.fleet.states[1].spec.total_blocks == 100
    spine.fleet.worker_facts(1, WorkerFacts(block_tokens=544, total_blocks=200))
    assert resident(spine) == 2  # the page is no longer believed, nor does a repeated spec void the view


def test_a_silent_worker_goes_by_its_page() -> None:
    spine = Spine(endpoint(1, kv_events=None))
    assert spine.fleet.states[1].spec.block_tokens == 16
    spine.fleet.worker_facts(1, WorkerFacts(block_tokens=32))
    assert spine.fleet.states[1].spec.block_tokens == 32


@pytest.mark.parametrize("core", ["native", "python"])
def test_a_page_that_cannot_be_true_is_not_believed(core: str, caplog: pytest.LogCaptureFixture) -> None:
    router = make_router(RoutingConfig(core=core))
    fleet = Fleet(router, use_events=True, stale_after_s=5, on_gone=lambda _endpoint, _bookings: None)
    fleet.replace(PoolSnapshot.of([endpoint(1, kv_events=None)], 1))
    fleet.worker_facts(1, WorkerFacts(block_tokens=2**40, total_blocks=2**53))
    assert fleet.states[1].spec.block_tokens == 16
    assert "not believed" in caplog.text
    fleet.worker_facts(1, WorkerFacts(block_tokens=32, total_blocks=2**53))
    assert fleet.states[1].spec.block_tokens == 32


def test_loads_age() -> None:
    spine = Spine(endpoint(1))
    assert spine.fleet.fresh_load(ONE, spine.now_s) is None
    spine.fleet.update_load(ONE, LoadSample(3, 1, 0.5), spine.now_s)
    assert spine.fleet.fresh_load(ONE, spine.now_s + 5) == LoadSample(3, 1, 0.5)
    assert spine.fleet.fresh_load(ONE, spine.now_s + 5.1) is None


def test_facts_of_strangers_are_ignored() -> None:
    spine = Spine(endpoint(1))
    spine.fleet.worker_facts(9, WorkerFacts(total_blocks=1))
    spine.fleet.update_load(WorkerRank(9, 0), LoadSample(), 0.0)
    assert spine.stored(9, tokens_of(words(8))).ignored == (("unknown-worker", 1),)
    assert spine.fleet.states.keys() == {1}


def test_adapters_are_known_while_somebody_lists_them() -> None:
    spine = Spine(endpoint(1), endpoint(2))
    spine.fleet.worker_facts(1, WorkerFacts(lora=LoraFacts(waiting=frozenset({"tuned"}))))
    assert spine.fleet.has_adapter("tuned")
    spine.pool(endpoint(2))
    assert not spine.fleet.has_adapter("tuned")


def test_views_are_dropped_when_streams_are_followed_anew() -> None:
    spine = Spine(endpoint(1, dp_size=2))
    spine.stored(1, tokens_of(words(8)), rank=1)
    spine.fleet.drop_views()
    assert resident(spine) == 0


def test_what_exceeds_the_router_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    router = ReferenceRouter(RouterOptions(max_workers=1), decode)
    fleet = Fleet(router, use_events=True, stale_after_s=5, on_gone=lambda _endpoint, _bookings: None)
    fleet.replace(PoolSnapshot.of([endpoint(1), endpoint(2)], 1))
    assert [e.worker_id for e in fleet.snapshot.endpoints] == [1]
    assert "1 endpoints are left out" in caplog.text
    fleet.replace(PoolSnapshot.of([endpoint(2)], 2))
    assert [e.worker_id for e in fleet.snapshot.endpoints] == [2]


def test_an_engine_that_comes_back_with_another_block_size_is_learnt_anew() -> None:
    spine = Spine(endpoint(1))
    spine.stored(1, tokens_of(words(40)))
    event = {
        "type": "BlockStored",
        "block_hashes": [901, 902],
        "parent_block_hash": None,
        "token_ids": list(range(16)),
        "block_size": 8,
    }
    report = spine.fleet.apply_payload(ONE, msgspec.msgpack.encode([0.0, [event], 0]), 5.0)
    assert (report.stored_blocks, report.block_tokens) == (2, 8)
    assert resident(spine) == 2
    assert spine.fleet.states[1].spec.block_tokens == 8
