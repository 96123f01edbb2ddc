"""What a router knows of resident blocks. Numbered tests are the observed behaviours 24 to 35 of Dynamo,
with true residency where Dynamo falls short of it (27, 34)."""

from typing import Any

import msgspec
import pytest

from epp.core.router import BlocksCleared, BlocksRemoved, Policy, Router, Tier, WorkerSpec
from tests.conformance.router_suite.builders import (
    apply,
    ask,
    book,
    flat,
    fleet,
    load,
    prompt,
    rank,
    runs,
    sizes,
    stored,
    terms,
)
from tests.conformance.router_suite.factories import MakeRouter


def payload(*events: Any, ts: float = 1.5, dp_rank: int = 0) -> bytes:
    return msgspec.msgpack.encode([ts, list(events), dp_rank])


def stored_map(names: list[Any], tokens: list[int], **more: Any) -> dict[str, Any]:
    fields = {"block_hashes": names, "parent_block_hash": None, "token_ids": tokens, "block_size": 16}
    return {"type": "BlockStored", **fields, "lora_id": None, "medium": "GPU", **more}


def test_24_overlap_is_per_worker(router: Router) -> None:
    fleet(router, 1, 2)
    apply(router, 1, stored([101, 102], prompt(32)))
    apply(router, 2, stored([201], prompt(16)))
    assert [runs(router, prompt(64), worker)[0] for worker in (1, 2)] == [2, 1]


def test_25_a_chain_extends_by_its_parent(router: Router) -> None:
    fleet(router, 1)
    apply(router, 1, stored([101, 102], prompt(32)))
    report = apply(router, 1, stored([103, 104], prompt(32, first=33), parent=102))
    assert report.stored_blocks == 2
    assert runs(router, prompt(64))[0] == 4
    assert runs(router, prompt(40))[0] == 2


def test_26_divergence_ends_the_run(router: Router) -> None:
    fleet(router, 1)
    apply(router, 1, stored([101, 102], prompt(32)))
    assert runs(router, prompt(16) + prompt(16, first=900))[0] == 1


def test_27_removing_a_middle_block_shortens_and_storing_it_again_restores_the_whole_run(
    router: Router,
) -> None:
    fleet(router, 1)
    apply(router, 1, stored([101, 102, 103, 104], prompt(64)))
    assert apply(router, 1, BlocksRemoved((102,))).removed_blocks == 1
    assert runs(router, prompt(64))[0] == 1
    apply(router, 1, stored([102], prompt(16, first=17), parent=101))
    assert runs(router, prompt(64))[0] == 4


def test_28_events_that_cannot_be_placed_are_ignored_and_counted(router: Router) -> None:
    fleet(router, 1)
    apply(router, 1, stored([101], prompt(16)))
    report = apply(
        router,
        1,
        stored([110], prompt(32), block_tokens=32),
        stored([111], prompt(16, first=17), parent=999),
        stored([112], prompt(15)),
        stored([113], b"", block_tokens=0),
        stored([114], prompt(16), mm_hashes=((1,), (2,))),
        BlocksRemoved((998, 997)),
    )
    assert report.ignored == (("block-size", 1), ("malformed", 3), ("orphan", 1), ("unknown-hash", 2))
    assert (report.stored_blocks, report.removed_blocks) == (0, 0)
    assert runs(router, prompt(32))[0] == 1


def test_28_payloads_of_other_caches_are_ignored_and_counted(router: Router) -> None:
    fleet(router, 1)
    report = router.apply_payload(
        rank(1),
        payload(
            stored_map([1], list(range(1, 17)), kv_cache_spec_kind="mamba"),
            stored_map([2], list(range(1, 17)), locality="REMOTE"),
            stored_map([b"x" * 32], list(range(1, 17))),
            {"type": "SomethingNew"},
        ),
        now_s=0.0,
    )
    assert report.ignored == (("hash-form", 1), ("kind", 1), ("locality", 1), ("unknown-type", 1))
    assert runs(router, prompt(16))[0] == 0


def test_28_bytes_that_are_no_payload_are_counted(router: Router) -> None:
    fleet(router, 1)
    assert router.apply_payload(rank(1), b"\xc1", now_s=0.0).ignored == (("malformed", 1),)


def test_29_a_name_used_twice_keeps_its_first_block(router: Router) -> None:
    fleet(router, 1)
    report = apply(router, 1, stored([101, 101], prompt(32)))
    assert (report.stored_blocks, report.ignored) == (1, (("duplicate", 1),))
    assert apply(router, 1, stored([101], prompt(16))).ignored == (("duplicate", 1),)
    assert apply(router, 1, stored([101], prompt(16, first=500))).ignored == (("duplicate", 1),)
    assert runs(router, prompt(32))[0] == 1
    assert runs(router, prompt(16, first=500))[0] == 0


def test_30_tiers_add_to_the_run_and_each_leaves_alone(router: Router) -> None:
    fleet(router, 1)
    names = (101, 102, 103)
    apply(router, 1, stored(names, prompt(48), tier=Tier.HOST))
    assert runs(router, prompt(64)) == (0, 3, 3)
    apply(router, 1, stored(names[:1], prompt(16)))
    assert runs(router, prompt(64)) == (1, 3, 3)
    apply(router, 1, stored([104], prompt(16, first=49), parent=103, tier=Tier.DISK))
    assert runs(router, prompt(64)) == (1, 3, 4)
    assert apply(router, 1, BlocksRemoved(names, Tier.HOST)).removed_blocks == 3
    assert runs(router, prompt(64)) == (1, 1, 1)


def test_31_clearing_empties_one_rank_only(router: Router) -> None:
    fleet(router, 1, 2, dp_size=2)
    for worker_id, dp_rank in ((1, 0), (1, 1), (2, 0)):
        apply(router, worker_id, stored([101], prompt(16)), dp_rank=dp_rank)
    report = apply(router, 1, BlocksCleared())
    assert (report.cleared, report.removed_blocks) == (1, 0)
    found = [runs(router, prompt(16), worker, dp_rank)[0] for worker, dp_rank in ((1, 0), (1, 1), (2, 0))]
    assert found == [0, 1, 1]
    assert apply(router, 1, stored([101], prompt(16))).stored_blocks == 1


@pytest.mark.parametrize("space", [{"lora": "ada"}, {"salt": "tenantA"}, {"lora": "ada", "salt": "tenantA"}])
def test_32_namespaces_do_not_share_blocks(router: Router, space: dict[str, str]) -> None:
    fleet(router, 1)
    apply(router, 1, stored([101, 102], prompt(32), **space))
    assert runs(router, prompt(32), **space)[0] == 2
    for other in ({}, {"lora": "other"}, {"salt": "ada"}):
        assert runs(router, prompt(32), **other)[0] == 0


def test_32_descendants_live_in_the_namespace_of_their_parent(router: Router) -> None:
    fleet(router, 1)
    apply(router, 1, stored([101], prompt(16), salt="tenantA", lora="ada"))
    apply(router, 1, stored([102], prompt(16, first=17), parent=101, lora="ada"))
    assert runs(router, prompt(32), salt="tenantA", lora="ada")[0] == 2
    assert runs(router, prompt(32), lora="ada")[0] == 0


def test_33_maps_and_arrays_say_the_same_and_negative_names_are_accepted(router: Router) -> None:
    fleet(router, 1, 2)
    ids = list(range(1, 17))
    as_map = router.apply_payload(rank(1), payload(stored_map([-5], ids)), now_s=0.0)
    row = ["BlockStored", [-5], None, ids, 16, None, "GPU", None]
    as_array = router.apply_payload(rank(2), payload(row), now_s=0.0)
    assert as_map == as_array
    assert as_map.stored_blocks == 1
    assert [runs(router, prompt(16), worker)[0] for worker in (1, 2)] == [1, 1]
    assert apply(router, 1, BlocksRemoved((2**64 - 5,))).removed_blocks == 1


def test_34_equal_content_under_different_names_counts_fully_for_both(router: Router) -> None:
    fleet(router, 1, 2)
    apply(router, 1, stored([101, 102], prompt(32)))
    apply(router, 2, stored([201, 202], prompt(32)))
    assert [runs(router, prompt(32), worker)[0] for worker in (1, 2)] == [2, 2]
    assert router.stats().distinct_blocks == 2
    assert router.stats().resident_pairs == 4


def test_35_ranks_of_one_worker_are_separate(router: Router) -> None:
    fleet(router, 1, dp_size=2)
    apply(router, 1, stored([101], prompt(16)), dp_rank=1)
    assert [runs(router, prompt(16), 1, dp_rank)[0] for dp_rank in (0, 1)] == [0, 1]
    assert apply(router, 1, BlocksRemoved((101,)), dp_rank=0).ignored == (("unknown-hash", 1),)


# --- beyond the list -----------------------------------------------------------------------------------


def test_events_for_unknown_ranks_are_counted(router: Router) -> None:
    fleet(router, 1)
    for target in (rank(9), rank(1, 1), rank(1, -1)):
        report = router.apply(target, (stored([1], prompt(16)), BlocksCleared()), 0.0)
        assert (report.ignored, report.block_tokens) == ((("unknown-worker", 2),), 0)


def test_the_block_size_is_learnt_from_the_first_stored_event(router: Router) -> None:
    fleet(router, 1, block_tokens=0)
    assert apply(router, 1, stored([7], prompt(32), parent=6, block_tokens=32)).block_tokens == 32
    report = apply(router, 1, stored([1, 2], prompt(32)))
    assert (report.ignored, report.block_tokens) == ((("block-size", 1),), 32)


def test_a_new_block_size_forgets_the_blocks_and_the_known_one_does_not(router: Router) -> None:
    fleet(router, 1)
    apply(router, 1, stored([1], prompt(16)))
    fleet(router, 1, block_tokens=0)
    fleet(router, 1, block_tokens=16, total_blocks=5)
    assert load(router).resident_blocks == 1
    fleet(router, 1, block_tokens=32)
    assert load(router).resident_blocks == 0
    assert apply(router, 1, stored([1], prompt(32), block_tokens=32)).stored_blocks == 1


def test_workers_of_different_block_sizes_compare_in_one_question(router: Router) -> None:
    fleet(router, 1, block_tokens=16)
    fleet(router, 2, block_tokens=64)
    apply(router, 1, stored([1, 2], prompt(32)))
    apply(router, 2, stored([1], prompt(64), block_tokens=64))
    rows = terms(router, prompt(100))
    assert [rows[rank(w)].cached_tokens for w in (1, 2)] == [32, 64]
    assert [rows[rank(w)].request_blocks for w in (1, 2)] == [7, 2]
    assert [rows[rank(w)].cost for w in (1, 2)] == [6.25 - 2 + 7, (100 / 64 - 1 + 2) * 4]


def test_a_second_name_replaces_the_first(router: Router) -> None:
    fleet(router, 1)
    apply(router, 1, stored([101, 102], prompt(32)))
    report = apply(router, 1, stored([201], prompt(16)))
    assert (report.stored_blocks, report.ignored) == (0, (("duplicate", 1),))
    assert apply(router, 1, BlocksRemoved((101,))).ignored == (("unknown-hash", 1),)
    assert runs(router, prompt(32))[0] == 2
    assert apply(router, 1, BlocksRemoved((201,))).removed_blocks == 1
    assert runs(router, prompt(32))[0] == 0


def test_a_block_leaves_with_its_last_tier(router: Router) -> None:
    fleet(router, 1)
    for tier in (Tier.DEVICE, Tier.EXTERNAL):
        assert apply(router, 1, stored([1], prompt(16), tier=tier)).stored_blocks == 1
    assert apply(router, 1, BlocksRemoved((1,), Tier.HOST)).ignored == (("unknown-hash", 1),)
    apply(router, 1, BlocksRemoved((1,)))
    assert runs(router, prompt(16)) == (0, 0, 1)
    apply(router, 1, BlocksRemoved((1,), Tier.EXTERNAL))
    assert router.stats().resident_pairs == 0


def test_a_device_block_behind_a_host_block_extends_the_run(router: Router) -> None:
    fleet(router, 1)
    apply(router, 1, stored([1], prompt(16), tier=Tier.HOST), stored([2], prompt(16, first=17), parent=1))
    assert runs(router, prompt(32)) == (0, 2, 2)


def test_images_tell_blocks_apart(router: Router) -> None:
    fleet(router, 1)
    report = apply(router, 1, stored([1], prompt(16), mm_hashes=((5,),)), stored([2], prompt(16)))
    assert report.stored_blocks == 2
    assert runs(router, prompt(16))[0] == 1


def test_blocks_beyond_capacity_are_refused_and_counted(make_router: MakeRouter) -> None:
    router = make_router(max_blocks=3)
    fleet(router, 1, 2)
    report = apply(router, 1, stored([1, 2, 3, 4], prompt(64)))
    assert (report.stored_blocks, report.ignored) == (3, (("capacity", 1),))
    assert apply(router, 2, stored([1], prompt(16))).ignored == (("capacity", 1),)
    assert apply(router, 1, stored([1], prompt(16), tier=Tier.HOST)).stored_blocks == 1
    apply(router, 1, BlocksRemoved((3,)))
    assert apply(router, 2, stored([1], prompt(16))).stored_blocks == 1
    assert router.stats().resident_pairs == 3


def test_dropping_a_rank_says_how_many(router: Router) -> None:
    fleet(router, 1, 2)
    apply(router, 1, stored([1, 2], prompt(32)))
    apply(router, 2, stored([1], prompt(16)))
    assert router.drop_blocks(rank(1)) == 2
    assert router.drop_blocks(rank(1)) == 0
    assert router.drop_blocks(rank(9)) == 0
    assert [load(router, worker).resident_blocks for worker in (1, 2)] == [0, 1]


def test_removed_workers_and_ranks_take_their_blocks_along(router: Router) -> None:
    fleet(router, 1, 2, dp_size=2)
    for worker_id in (1, 2):
        apply(router, worker_id, stored([1], prompt(16)), dp_rank=1)
    router.remove_worker(1)
    fleet(router, 2, dp_size=1)
    assert router.stats().resident_pairs == 0
    fleet(router, 1, 2, dp_size=2)
    assert [runs(router, prompt(16), worker, 1)[0] for worker in (1, 2)] == [0, 0]


# --- workers without events ----------------------------------------------------------------------------


def test_what_is_sent_to_a_silent_worker_is_believed_until_its_time_ends(make_router: MakeRouter) -> None:
    router = make_router(predicted_ttl_s=10.0)
    fleet(router, 1, has_events=False)
    book(router, prompt(40), 1, now_s=0.0)
    assert runs(router, prompt(40))[0] == 2
    assert (router.stats().predicted_blocks, router.stats().resident_pairs) == (2, 2)
    book(router, prompt(16), 2, now_s=6.0)
    router.expire(10.0)
    assert runs(router, prompt(40))[0] == 1
    router.expire(15.9)
    assert router.stats().predicted_blocks == 1
    router.expire(16.0)
    assert router.stats().resident_pairs == 0


def test_asking_predicts_nothing(router: Router) -> None:
    fleet(router, 1, has_events=False)
    router.select(ask(prompt(64)))
    assert router.stats().predicted_blocks == 0


def test_an_event_makes_a_prediction_true(make_router: MakeRouter) -> None:
    router = make_router(predicted_ttl_s=10.0)
    fleet(router, 1, has_events=False)
    book(router, prompt(32), 1)
    assert apply(router, 1, stored([1], prompt(16), tier=Tier.HOST)).stored_blocks == 1
    assert router.stats().predicted_blocks == 1
    assert runs(router, prompt(16)) == (0, 1, 1)
    router.expire(99.0)
    assert runs(router, prompt(16)) == (0, 1, 1)


def test_what_is_known_is_not_predicted(make_router: MakeRouter) -> None:
    router = make_router(predicted_ttl_s=10.0)
    fleet(router, 1, has_events=False)
    apply(router, 1, stored([1], prompt(16)))
    book(router, prompt(32), 1)
    assert router.stats().predicted_blocks == 1
    router.expire(10.0)
    assert runs(router, prompt(32))[0] == 1


def test_predictions_respect_capacity_and_namespaces(make_router: MakeRouter) -> None:
    router = make_router(max_blocks=1)
    fleet(router, 1, has_events=False)
    book(router, prompt(32), 1, salt="tenantA")
    assert router.stats().predicted_blocks == 1
    assert runs(router, prompt(32), salt="tenantA")[0] == 1
    assert runs(router, prompt(32))[0] == 0


def test_an_unknown_block_size_uses_the_default_until_it_is_known(make_router: MakeRouter) -> None:
    router = make_router(default_block_tokens=32)
    fleet(router, 1, has_events=False, block_tokens=0)
    assert book(router, prompt(64), 1).block_tokens == 0
    assert router.stats().predicted_blocks == 2
    fleet(router, 1, has_events=False, block_tokens=32)
    assert router.stats().predicted_blocks == 2
    fleet(router, 1, has_events=False, block_tokens=64)
    assert router.stats().predicted_blocks == 0


def test_multimodal_and_empty_stores_do_nothing_odd(router: Router) -> None:
    fleet(router, 1, block_tokens=0)
    report = apply(router, 1, stored([], b"", block_tokens=48))
    assert (report.stored_blocks, report.ignored, report.block_tokens) == (0, (), 0)


def test_hit_blocks_are_reported_by_select(router: Router) -> None:
    fleet(router, 1, 2)
    apply(router, 1, stored([1, 2, 3], flat(range(1, 49))))
    picked = router.select(ask(prompt(64), policy=Policy.ROUND_ROBIN, candidates=[2]))
    assert (picked.cached_tokens, picked.best_cached_tokens) == (0, 0)
    picked = router.select(ask(prompt(64), policy=Policy.KV))
    assert (picked.worker, picked.cached_tokens, picked.best_cached_tokens) == (rank(1), 48, 48)
    assert (picked.prompt_tokens, picked.block_tokens, picked.uncached_tokens) == (64, 16, 16.0)


def test_a_spec_equal_to_the_known_one_changes_nothing(router: Router) -> None:
    spec = WorkerSpec(1, block_tokens=16)
    router.upsert_worker(spec)
    apply(router, 1, stored([1], prompt(16)))
    before = router.loads(), sizes(router)
    router.upsert_worker(spec)
    assert (router.loads(), sizes(router)) == before
