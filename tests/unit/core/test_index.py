"""The index's own checks; its behaviour through a router is in tests/conformance."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from epp.core.endpoints import WorkerRank
from epp.core.kvindex.index import BlockIndex, RemoveOutcome, StoreOutcome
from epp.core.router import Tier

HERE, THERE = WorkerRank(1, 0), WorkerRank(2, 0)


@pytest.fixture
def index() -> BlockIndex:
    made = BlockIndex(max_pairs=10)
    made.store(HERE, 101, (11, 1337), Tier.DEVICE)
    made.store(THERE, 201, (11, 1337), Tier.HOST)
    made.predict(THERE, (12,), 1337, expires_at_s=5.0)
    return made


def test_runs_count_pending_blocks_as_on_the_device(index: BlockIndex) -> None:
    assert index.runs(THERE, (11, 12, 13)) == (0, 2, 2)
    assert index.runs(THERE, (11, 12, 13), pending={11, 13}) == (3, 3, 3)
    assert index.runs(WorkerRank(9, 9), (11,)) == (0, 0, 0)


def test_names_lead_to_the_block_and_its_namespace(index: BlockIndex) -> None:
    assert index.named(HERE, 101) == (11, 1337)
    assert index.named(THERE, 101) is None


def test_a_refused_block_leaves_no_trace() -> None:
    index = BlockIndex(max_pairs=0)
    assert index.store(HERE, 1, (11, 1337), Tier.DEVICE) is StoreOutcome.CAPACITY
    assert (index.pair_count, index.block_count, index.named(HERE, 1)) == (0, 0, None)
    assert list(index.faults()) == []


def test_the_last_holder_takes_the_block_along(index: BlockIndex) -> None:
    assert index.drop_rank(HERE) == 1
    assert index.block_count == 2
    assert index.drop_rank(THERE) == 2
    assert (index.block_count, index.pair_count, index.predicted_count) == (0, 0, 0)


def test_copies_leave_one_by_one_and_leave_nothing_behind(index: BlockIndex) -> None:
    for _ in range(2):
        assert index.store(HERE, 101, (11, 1337), Tier.DEVICE) is StoreOutcome.DUPLICATE
    gone = [index.remove(HERE, 101, Tier.DEVICE) for _ in range(4)]
    assert gone == [RemoveOutcome.COPY, RemoveOutcome.COPY, RemoveOutcome.REMOVED, RemoveOutcome.UNKNOWN]
    assert list(index.faults()) == []
    assert not index._copies


@pytest.mark.parametrize(
    ("damage", "fault"),
    [
        (lambda index: setattr(index, "_pair_count", 7), "7 counted"),
        (lambda index: index._names[HERE].clear(), "leads elsewhere"),
        (lambda index: index._names[HERE].update({5: 12}), "does not lead"),
        (lambda index: index._predicted.clear(), "neither named nor predicted"),
        (lambda index: index._blocks.pop(12), "which is unknown"),
        (lambda index: setattr(index._pairs[HERE][11], "tiers", 0), "without a tier"),
        (lambda index: setattr(index._blocks[11], "holders", 5), "do not add up"),
        (lambda index: setattr(index, "_copy_count", 7), "7 counted"),
        (lambda index: index._copies.update({(HERE, 11): Counter()}), "copies that are none"),
        (lambda index: index._copies.update({(HERE, 11): Counter({Tier.DISK: 1})}), "copies that are none"),
    ],
)
def test_damage_is_found_and_named(index: BlockIndex, damage: Callable[[Any], object], fault: str) -> None:
    assert list(index.faults()) == []
    damage(index)
    assert any(fault in found for found in index.faults())
