"""Corners of engine messages that the core judges by a rule of its own (``cabi/src/engine.h``)."""

from typing import Any

import msgspec
import pytest

from epp.core.endpoints import WorkerRank
from epp.core.kvindex.native import NativeRouter
from epp.core.kvindex.reference import ReferenceRouter
from epp.core.router import ApplyReport, Router, RouterOptions, WorkerSpec
from epp.wire import kvevents

TARGET = WorkerRank(1, 0)
STORED: dict[str, Any] = {
    "type": "BlockStored",
    "block_hashes": [5],
    "parent_block_hash": None,
    "token_ids": [1, 2],
    "block_size": 2,
}
REMOVED: dict[str, Any] = {"type": "BlockRemoved", "block_hashes": [5]}


@pytest.fixture(params=["native", "reference"])
def router(request: pytest.FixtureRequest) -> Router:
    options = RouterOptions()
    router: Router = (
        NativeRouter(options) if request.param == "native" else ReferenceRouter(options, kvevents.decode)
    )
    router.upsert_worker(WorkerSpec(1))
    return router


def apply(router: Router, *events: object) -> ApplyReport:
    return router.apply_payload(TARGET, msgspec.msgpack.encode([0.0, events, 0]), 0.0)


@pytest.mark.parametrize("group", [64, 2**40, -1])
def test_groups_of_which_no_memory_is_kept_change_nothing(router: Router, group: int) -> None:
    apply(router, STORED)
    told = apply(
        router,
        {**STORED, "kv_cache_spec_kind": "mamba", "group_idx": group},
        {**REMOVED, "group_idx": group},
        {**STORED, "block_hashes": [6], "token_ids": [3, 4], "group_idx": group},
    )
    assert told.ignored == (("kind", 3),)
    assert router.stats().resident_pairs == 1


def test_the_last_group_is_remembered(router: Router) -> None:
    foreign = {**STORED, "kv_cache_spec_kind": "mamba", "group_idx": 63}
    told = apply(router, STORED, foreign, {**REMOVED, "group_idx": 63})
    assert told.ignored == (("kind", 2),)
    assert router.stats().resident_pairs == 1
    assert apply(router, {**REMOVED, "group_idx": 62}).removed_blocks == 1


@pytest.mark.parametrize(("n_bytes", "stored"), [(256, 1), (257, 0)])
def test_the_name_of_an_adapter_is_bounded(router: Router, n_bytes: int, stored: int) -> None:
    told = apply(router, {**STORED, "lora_id": "x" * n_bytes})
    assert told.stored_blocks == stored
    assert told.ignored == (() if stored else (("malformed", 1),))


def test_a_letter_that_only_looks_like_ascii_names_no_tier(router: Router) -> None:
    apply(router, {**STORED, "medium": "d\u0131sk"})
    assert apply(router, {**REMOVED, "medium": "disk"}).ignored == (("unknown-hash", 1),)
    assert apply(router, {**REMOVED, "medium": "network"}).removed_blocks == 1
