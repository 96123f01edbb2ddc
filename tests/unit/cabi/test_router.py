"""The typed face of the router; what it computes is the conformance suite's business."""

import threading
from array import array
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import cabi
from cabi.buffers import Buffer
from cabi.records import Ask, LoadSample, Policy
from cabi.status import ArgumentError, BoundError, DuplicateBookingError, SnapshotError, UnknownBookingError

SEED = cabi.namespace_seed()
PROMPT = array("I", range(64))


@pytest.fixture
def router() -> Iterator[cabi.Router]:
    with cabi.Router() as made:
        yield made
        assert made.validate() is None


def stored(count: int = 4, *, tier: int = 0) -> cabi.EventBatch:
    batch = cabi.EventBatch()
    batch.stored(list(range(1, count + 1)), PROMPT[: 16 * count], 16, namespace_seed=SEED, tier=tier)
    return batch


def question(tokens: Buffer = PROMPT, **fields: Any) -> cabi.Request:
    return cabi.Request(tokens, flags=Ask.KV_REUSE | Ask.TRACK_PREFILL, **{"now_s": 0.0, **fields})


def test_a_choice_end_to_end(router: cabi.Router) -> None:
    for worker in (1, 2):
        assert router.upsert_worker(cabi.Worker(worker)) == ()
    report = router.apply(2, 0, stored(), 0.0)
    assert (report.stored_blocks, report.block_tokens, report.ignored) == (4, 16, ())
    chosen = router.select(question(booking=9), explain=True)
    assert (chosen.worker_id, chosen.cached_tokens, chosen.prefill) == (2, 48, None)
    assert [terms.device_blocks for terms in chosen.terms] == [0, 4]
    assert [load.active_decode_blocks for load in router.loads()] == [0, 4]
    router.output_block(9)
    router.renew(9, 1.0)
    assert router.prefill_complete(9, 1.0) is None
    router.end_booking(9)
    assert router.stats().bookings == 0


def test_errors_are_typed(router: cabi.Router) -> None:
    router.upsert_worker(cabi.Worker(1))
    router.select(question(booking=1))
    with pytest.raises(DuplicateBookingError):
        router.select(question(booking=1))
    with pytest.raises(UnknownBookingError, match="unknown booking"):
        router.end_booking(2)
    with pytest.raises(ArgumentError):
        router.select(question(lease_s=0.0))
    with pytest.raises(ArgumentError):
        router.select(question(now_s=float("nan")))
    with pytest.raises(ArgumentError):
        router.upsert_worker(cabi.Worker(1, dp_size=0))
    with pytest.raises(ArgumentError):
        cabi.Router(cabi.Options(default_block_tokens=0))
    with pytest.raises(ValueError, match="whole u32"):
        question(b"abc")


@pytest.mark.parametrize(
    "fields",
    [
        {"booking": -1},
        {"booking": 2**64},
        {"seed": 2**64},
        {"pin_rank": -2},
        {"pin_rank": 2**31},
        {"expected_output_tokens": -1},
        {"rules": {"temperature": -1.0}},
        {"rules": {"disagg_min_prompt_tokens": -1}},
    ],
    ids=str,
)
def test_numbers_out_of_range_are_errors(router: cabi.Router, fields: dict[str, Any]) -> None:
    router.upsert_worker(cabi.Worker(1))
    with pytest.raises(ArgumentError):
        router.select(_question_by(**fields))


def _question_by(rules: dict[str, float] | None = None, **fields: Any) -> cabi.Request:
    return question(rules=cabi.Rules(**(rules or {})), **fields)


def test_rules_are_fields_of_a_request(router: cabi.Router) -> None:
    router.upsert_worker(cabi.Worker(1))
    router.select(question(booking=1))
    limits = cabi.Rules(busy_prefill_tokens=1.0)
    assert router.select(question(rules=limits)) is cabi.Status.OVERLOADED
    for name in ("seed", "no_such_rule"):
        with pytest.raises(ValueError, match=name):
            cabi.Rules(**{name: 1})


def test_bounds(router: cabi.Router) -> None:
    small = cabi.Router(cabi.Options(max_workers=2, max_ranks=3, max_bookings=1))
    small.upsert_worker(cabi.Worker(1, dp_size=2))
    with pytest.raises(BoundError):
        small.upsert_worker(cabi.Worker(2, dp_size=2))
    small.upsert_worker(cabi.Worker(2))
    with pytest.raises(BoundError):
        small.upsert_worker(cabi.Worker(3))
    small.select(question(booking=1))
    with pytest.raises(BoundError):
        small.select(question(booking=2))
    small.close()


def test_refusals_are_answers(router: cabi.Router) -> None:
    assert router.select(question()) is cabi.Status.NO_WORKERS
    router.upsert_worker(cabi.Worker(1))
    assert router.select(question(candidates=[5])) is cabi.Status.NO_CANDIDATES
    assert router.measure(question(candidates=[5])) == ()


def test_results_of_any_number_are_returned_whole(router: cabi.Router) -> None:
    router.upsert_worker(cabi.Worker(1, dp_size=100))
    for booking in range(1, 151):
        router.select(question(booking=booking, policy=Policy.RANDOM, seed=booking))
    assert len(router.loads()) == len(router.measure(question())) == 100
    assert router.upsert_worker(cabi.Worker(1)) + router.remove_worker(1) != ()
    assert router.stats().bookings == 0


def test_many_facts_of_one_batch(router: cabi.Router) -> None:
    router.upsert_worker(cabi.Worker(1, block_tokens=16))
    for booking in range(1, 101):
        router.select(question(booking=booking))
    done = router.apply(1, 0, stored(), 5.0).prefill_done
    assert [(entry.booking, entry.at_s, entry.exact) for entry in done] == [
        (n, 5.0, True) for n in range(1, 101)
    ]


def test_expiry_and_loads(router: cabi.Router) -> None:
    router.upsert_worker(cabi.Worker(1))
    router.set_load(1, 0, LoadSample(3, 4, 0.5))
    router.select(question(booking=7, lease_s=2.0))
    assert router.loads()[0].scraped == (3, 4, 0.5)
    assert router.expire(1.9) == ()
    assert router.expire(2.0) == (7,)


def test_malformed_events_are_counted_in_place(router: cabi.Router) -> None:
    router.upsert_worker(cabi.Worker(1))
    batch = stored(2)
    batch.stored([8], b"\0" * 63, 16, namespace_seed=SEED)
    batch.stored([9], b"\0" * 64, 16, namespace_seed=SEED, mm_hashes=[[1, 2]])
    batch.removed([1, 77])
    batch.cleared()
    report = router.apply(1, 0, batch, 0.0)
    assert len(batch) == 5
    assert (report.stored_blocks, report.removed_blocks, report.cleared) == (3, 1, 1)
    assert report.ignored == (("malformed", 1), ("unknown-hash", 1))


def test_snapshots_move_residency(router: cabi.Router) -> None:
    for worker in (1, 2, 3):
        router.upsert_worker(cabi.Worker(worker, block_tokens=16, has_events=worker != 3))
    router.apply(1, 0, stored(), 0.0)
    router.apply(2, 0, stored(2, tier=1), 0.0)
    router.select(cabi.Request(PROMPT, flags=Ask.PIN, pin_worker=3, booking=1, now_s=0.0, lease_s=9.0))
    snapshot = router.dump(20.0)
    with cabi.Router() as other:
        for worker in (1, 3, 4):
            other.upsert_worker(cabi.Worker(worker, has_events=worker != 3))
        assert other.load(bytearray(snapshot), 1000.0) == (8, 2, 1)
        assert [load.resident_blocks for load in other.loads()] == [4, 4, 0]
        assert other.expire(1099.0) == ()
        assert other.stats().predicted_blocks == 4
        other.expire(1100.0)
        assert other.stats().predicted_blocks == 0
        assert other.apply(1, 0, stored(), 0.0).ignored == (("duplicate", 4),)
        assert other.load(snapshot, 1000.0).skipped_ranks == 2
        assert other.validate() is None


@pytest.mark.parametrize("damage", [b"", b"nonsense", "cut", "flip", "version"])
def test_damaged_snapshots_are_refused(router: cabi.Router, damage: bytes | str) -> None:
    router.upsert_worker(cabi.Worker(1))
    router.apply(1, 0, stored(), 0.0)
    whole = router.dump(0.0)
    damaged = {
        "cut": whole[:-9] + whole[-8:],
        "flip": whole[:40] + bytes([whole[40] ^ 1]) + whole[41:],
        "version": whole[:8] + b"\2" + whole[9:],
    }.get(damage, damage)
    before = router.stats()
    with pytest.raises(SnapshotError):
        router.load(damaged, 0.0)
    assert router.stats()._replace(memory_bytes=0) == before._replace(memory_bytes=0)


def test_threads_share_a_router(router: cabi.Router) -> None:
    for worker in range(1, 9):
        router.upsert_worker(cabi.Worker(worker))
    errors: list[Exception] = []

    def work(thread: int) -> None:
        try:
            for round_ in range(50):
                booking = 1000 * thread + round_
                router.apply(1 + round_ % 8, 0, stored(), 0.0)
                router.select(question(booking=booking, seed=booking))
                router.end_booking(booking)
        except Exception as error:  # noqa: BLE001 -- told to the main thread
            errors.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert router.stats().bookings == 0


def test_a_rank_of_many_blocks_is_dropped_to_the_last(router: cabi.Router) -> None:
    count = 10_000  # several parts
    batch = cabi.EventBatch()
    batch.stored(list(range(1, count + 1)), array("I", range(count)), 1, namespace_seed=SEED)
    for worker in (1, 2):
        router.upsert_worker(cabi.Worker(worker, block_tokens=1))
        assert router.apply(worker, 0, batch, 0.0).stored_blocks == count
    assert router.drop_blocks(1, 0) == count
    assert [load.resident_blocks for load in router.loads()] == [0, count]
    assert router.drop_blocks(1, 0) == 0


def side_by_side(rounds: int, *parts: Callable[[int], object]) -> None:
    """Each part on a thread of its own, called with 1, 2, ..."""

    def play(part: Callable[[int], object]) -> None:
        for number in range(1, rounds + 1):
            part(number)

    crew = [threading.Thread(target=play, args=(part,)) for part in parts]
    for member in crew:
        member.start()
    for member in crew:
        member.join()


def test_questions_run_while_bookings_and_events_change_what_they_read(router: cabi.Router) -> None:
    for worker in (1, 2):
        router.upsert_worker(cabi.Worker(worker, block_tokens=16))
    seen: set[tuple[int, int]] = set()

    def ask(_number: int) -> None:
        chosen = router.select(question(), explain=True)
        seen.add((len(chosen.terms), chosen.best_cached_tokens))

    def book(number: int) -> None:
        router.select(question(booking=number))
        router.end_booking(number)

    def change(_number: int) -> None:
        router.apply(2, 0, stored(), 0.0)
        router.drop_blocks(2, 0)

    side_by_side(300, ask, ask, book, change)
    assert seen <= {(2, 0), (2, 48)}  # all of a batch or nothing of it
    assert router.stats().bookings == 0
