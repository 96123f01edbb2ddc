"""The paged prefix cache by itself."""

from epp.testing.engine.cache import BlockPool, block_hash
from epp.testing.engine.events import Cleared, Removed, Stored
from epp.testing.engine.ids import ids


def filled(pool: BlockPool, *names: int) -> list[int]:
    """Blocks of ``pool`` holding a chain called ``names``, as a finished sequence leaves them."""
    blocks = pool.take(len(names))
    pool.store(list(zip(blocks, names, strict=True)), None, ids(range(pool.block_tokens * len(names))))
    return blocks


def test_hash_depends_on_parent_tokens_and_extra() -> None:
    tokens = ids([1, 2]).tobytes()
    hashes = {
        block_hash(None, tokens),
        block_hash(1, tokens),
        block_hash(None, ids([2, 1]).tobytes()),
        block_hash(None, tokens, b"lora"),
    }
    assert len(hashes) == 4
    assert all(0 <= value < 1 << 64 for value in hashes)


def test_longest_run_stops_at_the_first_missing_block() -> None:
    pool = BlockPool(8, 2)
    blocks = filled(pool, 10, 11, 12)
    assert pool.longest_run([10, 11, 99, 12]) == blocks[:2]
    assert pool.longest_run([99]) == []


def test_freed_blocks_stay_findable_until_the_oldest_is_taken_again() -> None:
    pool = BlockPool(3, 2)
    pool.release(filled(pool, 10, 11, 12))
    assert pool.used_blocks == 0
    pool.drain_events()
    pool.take(1)
    assert pool.drain_events() == [Removed(12)], "the tail of a sequence goes first"
    assert len(pool.longest_run([10, 11])) == 2


def test_a_reserved_block_is_not_evicted() -> None:
    pool = BlockPool(2, 2)
    pool.release(filled(pool, 10, 11))
    pool.reserve(pool.longest_run([10]))
    assert not pool.fits(2)
    pool.take(1)
    assert pool.longest_run([10])


def test_a_revived_block_counts_against_the_room() -> None:
    pool = BlockPool(2, 2)
    pool.release(filled(pool, 10))
    run = pool.longest_run([10])
    assert pool.fits(1, run)
    assert not pool.fits(2, run)


def test_copies_are_announced_and_withdrawn_one_by_one() -> None:
    pool = BlockPool(2, 2)
    first, second = filled(pool, 10), filled(pool, 10)
    assert pool.resident() == {10: 2}
    pool.release(first)
    pool.drain_events()
    pool.take(1)
    assert pool.drain_events() == [Removed(10)]
    assert pool.longest_run([10]) == second


def test_clear_is_refused_while_blocks_are_in_use() -> None:
    pool = BlockPool(2, 2)
    blocks = filled(pool, 10)
    assert not pool.clear()
    pool.release(blocks)
    pool.drain_events()
    assert pool.clear()
    assert pool.drain_events() == [Cleared()]
    assert pool.resident() == {}


def test_the_salt_travels_only_with_a_run_from_the_root() -> None:
    pool = BlockPool(4, 2)
    blocks = pool.take(2)
    pool.store([(blocks[0], 10)], None, ids([1, 2]), ("ad", 1), "tenant")
    pool.store([(blocks[1], 11)], 10, ids([3, 4]), ("ad", 1), "tenant")
    root, child = pool.drain_events()
    assert isinstance(root, Stored)
    assert isinstance(child, Stored)
    assert (root.salt, root.lora, root.parent) == ("tenant", "ad", None)
    assert (child.salt, child.lora, child.parent) == (None, "ad", 10)
