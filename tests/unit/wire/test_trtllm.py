"""TensorRT-LLM's JSON events to core events."""

from typing import Any

import msgspec
import pytest

from epp.core.router import BlocksRemoved, BlocksStored, Tier
from epp.wire.tokens import flat_tokens
from epp.wire.trtllm import RankEvents, Translated, Translator


def block(name: int, tokens: list[int], level: int = 0, **more: Any) -> dict[str, Any]:
    unique = [{"type": "unique_token", "token_id": token, "token_extra_id": 0} for token in tokens]
    return {"type": "stored_block", "block_hash": name, "tokens": unique, "cache_level": level, **more}


def event(number: int, data: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"event_id": number, "data": data, "window_size": 4096, **more}


def stored(number: int, parent: int | None, *blocks: dict[str, Any], **more: Any) -> dict[str, Any]:
    return event(number, {"type": "stored", "parent_hash": parent, "blocks": list(blocks)}, **more)


def read(translator: Translator, *events: dict[str, Any]) -> Translated:
    return translator.read(msgspec.json.encode(list(events)))


def expect_stored(name: int, parent: int | None, tokens: list[int], tier: Tier = Tier.DEVICE) -> BlocksStored:
    return BlocksStored((name,), parent, flat_tokens(tokens), len(tokens), tier)


CREATED = event(0, {"type": "created", "num_blocks_per_cache_level": [100, 10]})


def test_a_chain_is_stored_block_by_block() -> None:
    found = read(Translator(), CREATED, stored(1, None, block(5, [1, 2]), block(6, [3, 4])))
    assert found == Translated(
        (RankEvents(0, lost=False, events=(expect_stored(5, None, [1, 2]), expect_stored(6, 5, [3, 4]))),), ()
    )


def test_a_partial_last_block_is_left_out() -> None:
    found = read(Translator(), stored(1, None, block(5, [1, 2]), block(6, [3])))
    assert found.ranks[0].events == (expect_stored(5, None, [1, 2]),)
    assert found.ignored == (("block-size", 1),)


def test_the_block_size_must_be_known_first() -> None:
    translator = Translator()
    assert read(translator, stored(1, None, block(5, [1, 2]))).ignored == (("block-size", 1),)
    read(translator, stored(2, None, block(7, [1, 2]), block(8, [3, 4])))
    assert read(translator, stored(3, 8, block(9, [5, 6]))).ranks[0].events == (expect_stored(9, 8, [5, 6]),)


def test_a_move_to_another_level_is_a_store_there_and_a_removal_here() -> None:
    translator = Translator()
    read(translator, stored(1, None, block(5, [1, 2]), block(6, [3, 4])))
    moved = {
        "type": "updated",
        "block_hash": 6,
        "cache_level": {"type": "event_diff", "new_value": 1, "old_value": 0},
    }
    assert read(translator, event(2, moved)).ranks[0].events == (
        expect_stored(6, 5, [3, 4], Tier.HOST),
        BlocksRemoved((6,), Tier.DEVICE),
    )
    removed = {"type": "removed", "block_hashes": [6, 99]}
    assert read(translator, event(3, removed)).ranks[0].events == (BlocksRemoved((6,), Tier.HOST),)


def test_a_change_of_priority_alone_means_nothing() -> None:
    data = {"type": "updated", "block_hash": 6, "cache_level": None, "priority": {"new_value": 3}}
    assert read(Translator(), event(1, data)) == Translated((), ())


def test_missing_event_ids_lose_the_view() -> None:
    translator = Translator()
    read(translator, stored(1, None, block(5, [1, 2]), block(6, [3, 4])))
    found = read(translator, stored(3, None, block(7, [5, 6])))
    assert found.ranks == (RankEvents(0, lost=True, events=(expect_stored(7, None, [5, 6]),)),)


def test_ranks_count_their_events_apart() -> None:
    translator = Translator()
    chain = (block(5, [1, 2]), block(6, [3, 4]))
    found = read(
        translator,
        stored(1, None, *chain, attention_dp_rank=0),
        stored(1, None, *chain, attention_dp_rank=1),
    )
    assert [(rank.rank, rank.lost, len(rank.events)) for rank in found.ranks] == [
        (0, False, 2),
        (1, False, 2),
    ]


def test_only_the_largest_window_counts() -> None:
    translator = Translator()
    found = read(
        translator, CREATED, {**stored(1, None, block(5, [1, 2]), block(6, [3, 4])), "window_size": 512}
    )
    assert found == Translated((), (("kind", 1),))


def test_images_keep_blocks_apart() -> None:
    keyed = block(6, [3, 4], mm_keys=[{"type": "mm_key", "hash": "ab" * 32, "start_offset": 0}])
    found = read(Translator(), stored(1, None, block(5, [1, 2]), keyed))
    last = found.ranks[0].events[1]
    assert isinstance(last, BlocksStored)
    assert last.mm_hashes == ((0xABABABABABABABAB,),)


@pytest.mark.parametrize(
    "bad",
    [
        {},
        7,
        {"event_id": 1, "data": {"type": "exploded"}},
        stored(1, None, block(1, [-1, 2]), block(2, [1, 2])),
    ],
)
def test_a_bad_event_is_counted(bad: Any) -> None:
    assert read(Translator(), bad).ignored == (("malformed", 1),)


@pytest.mark.parametrize("body", [b"", b"{}", b"null", b"[", b"\xff"])
def test_an_answer_that_is_no_list(body: bytes) -> None:
    with pytest.raises(ValueError, match="not a JSON list"):
        Translator().read(body)


def test_forget_starts_anew() -> None:
    translator = Translator()
    read(translator, stored(5, None, block(5, [1, 2]), block(6, [3, 4])))
    translator.forget()
    assert read(translator, stored(0, None, block(5, [1, 2]))).ranks[0].lost is False
