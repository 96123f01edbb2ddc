"""Equal content computed twice is two copies under one name; each is announced and withdrawn by itself."""

import json
from pathlib import Path

import pytest

from epp.core.router import BlocksCleared, BlocksRemoved, Router, Tier
from tests.conformance.router_suite.builders import apply, flat, fleet, prompt, rank, runs, stored
from tests.conformance.router_suite.factories import MakeRouter

STREAM = Path(__file__).parents[2] / "golden" / "kvstreams" / "vllm-0.32.0-copies.json"
ONE = stored([101], prompt(16))
GONE = BlocksRemoved((101,))


def test_a_block_stays_until_its_last_copy_is_gone(router: Router) -> None:
    fleet(router, 1)
    apply(router, 1, ONE)
    report = apply(router, 1, ONE)
    assert (report.stored_blocks, report.ignored) == (0, (("duplicate", 1),))
    report = apply(router, 1, GONE)
    assert (report.removed_blocks, report.ignored) == (0, ())
    assert apply(router, 1, stored([102], prompt(16, first=17), parent=101)).stored_blocks == 1
    assert runs(router, prompt(32))[0] == 2
    assert apply(router, 1, GONE).removed_blocks == 1
    assert runs(router, prompt(32))[0] == 0
    assert apply(router, 1, GONE).ignored == (("unknown-hash", 1),)


def test_copies_come_and_go_within_one_batch(router: Router) -> None:
    fleet(router, 1)
    report = apply(router, 1, ONE, ONE, GONE, ONE, GONE)
    assert (report.stored_blocks, report.removed_blocks, report.ignored) == (1, 0, (("duplicate", 2),))
    assert apply(router, 1, GONE, GONE).ignored == (("unknown-hash", 1),)


def test_each_tier_and_each_rank_has_its_own_copies(router: Router) -> None:
    fleet(router, 1, dp_size=2)
    on_host = stored([101], prompt(16), tier=Tier.HOST)
    apply(router, 1, ONE, on_host, on_host)
    apply(router, 1, ONE, dp_rank=1)
    assert apply(router, 1, GONE, dp_rank=1).removed_blocks == 1
    assert apply(router, 1, GONE).removed_blocks == 1
    assert apply(router, 1, BlocksRemoved((101,), Tier.HOST)).removed_blocks == 0
    assert runs(router, prompt(16)) == (0, 1, 1)


@pytest.mark.parametrize("tier", [Tier.DEVICE, Tier.HOST])
def test_a_new_name_starts_with_one_copy(router: Router, tier: Tier) -> None:
    fleet(router, 1)
    apply(router, 1, ONE, ONE, ONE, stored([201], prompt(16), tier=tier))
    assert apply(router, 1, BlocksRemoved((201,))).removed_blocks == 1
    assert runs(router, prompt(16))[0] == 0


def test_what_is_forgotten_takes_its_copies_along(router: Router) -> None:
    fleet(router, 1)
    for forget in (
        lambda: apply(router, 1, BlocksCleared()),
        lambda: router.drop_blocks(rank(1)),
        lambda: router.remove_worker(1),
        lambda: fleet(router, 1, block_tokens=32),
    ):
        fleet(router, 1)
        apply(router, 1, ONE, ONE, ONE)
        forget()
        fleet(router, 1)
        apply(router, 1, ONE)
        assert apply(router, 1, GONE).removed_blocks == 1
        assert router.stats().resident_pairs == 0


def test_copies_beyond_capacity_are_not_counted(make_router: MakeRouter) -> None:
    router = make_router(max_blocks=2)
    fleet(router, 1)
    apply(router, 1, *[ONE] * 5)
    assert [apply(router, 1, GONE).removed_blocks for _ in range(4)] == [0, 0, 1, 0]


def test_a_recorded_engine_holds_what_is_believed(router: Router) -> None:
    stream = json.loads(STREAM.read_text())
    fleet(router, 1, block_tokens=0)
    for frame in stream["frames"]:
        report = router.apply_payload(rank(1), bytes.fromhex(frame["payload_hex"]), now_s=0.0)
        assert {reason for reason, _ in report.ignored} <= {"duplicate"}
        assert runs(router, flat(stream["tokens"]))[0] == frame["resident_blocks"], frame["seq"]
