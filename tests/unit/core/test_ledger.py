"""The ledger's own arithmetic; its behaviour through a router is in tests/conformance."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from epp.core.endpoints import WorkerRank
from epp.core.ledger import BookingOrder, Ledger
from epp.core.ledger_rank import BLOCK_UNITS, RankBook, units_of, whole_blocks
from epp.core.ledger_rate import PrefillRate

HERE = WorkerRank(1, 0)


def order(booking: int, chain: tuple[int, ...] = (11, 12), load_tokens: int = 32) -> BookingOrder:
    return BookingOrder(
        booking=booking,
        now_s=0.0,
        lease_s=10.0,
        expected_output_tokens=0,
        prefill=HERE,
        prefill_chain=chain,
        prefill_at_once=False,
        work_tokens=32,
        load_tokens=load_tokens,
        decode=HERE,
        decode_chain=chain,
        decode_block_tokens=16,
        share_blocks=True,
    )


@pytest.fixture
def ledger() -> Ledger:
    made = Ledger(100.0)
    made.open(HERE)
    made.book(order(1))
    return made


def test_weights_round_halves_up() -> None:
    assert [whole_blocks(units_of(blocks)) for blocks in (0.49, 0.5, 1.5, 2.49)] == [0, 1, 2, 2]


@given(st.lists(st.floats(0, 1), max_size=20))
def test_decaying_blocks_keeps_the_sum_exact(decays: list[float]) -> None:
    book = RankBook()
    book.track((1, 2, 3))
    book.track((1,))
    for decay in decays:
        book.decay((1, 2, 3), units_of(decay))
    assert list(book.faults()) == []
    book.untrack((1, 2, 3))
    assert book.units == BLOCK_UNITS
    book.untrack((1,))
    assert book.units == 0


def test_an_opened_rank_keeps_its_books(ledger: Ledger) -> None:
    ledger.open(HERE)
    assert ledger.book_of(HERE).active_requests == 1


def test_the_best_learnt_rate_is_the_fallback(ledger: Ledger) -> None:
    assert ledger.fallback_rate() == 100.0
    for _ in range(3):
        ledger.book_of(HERE).rate.learn(10, 0.5)
    assert ledger.fallback_rate() == pytest.approx(20.0)


def test_untimed_samples_teach_no_rate() -> None:
    rate = PrefillRate()
    for _ in range(5):
        rate.learn(100, 0.0)
    assert rate.tokens_per_s == 0.0


@pytest.mark.parametrize(
    ("damage", "fault"),
    [
        (lambda book: setattr(book, "active_prefill_tokens", 1), "differ from the queue"),
        (lambda book: setattr(book, "unfinished", 0), "queued than unfinished"),
        (lambda book: setattr(book, "units", 1), "less than the tracked"),
        (lambda book: setattr(book, "units", 9 * BLOCK_UNITS), "differs from its bookings"),
        (lambda book: setattr(book, "active_requests", 2), "2 active requests counted"),
        (lambda book: setattr(book, "unfinished", 2), "miscounted"),
        (lambda book: setattr(book.tracked[11], "references", 2), "tracked references"),
    ],
)
def test_damage_is_found_and_named(ledger: Ledger, damage: Callable[[Any], object], fault: str) -> None:
    assert list(ledger.faults()) == []
    damage(ledger.book_of(HERE))
    assert any(fault in found for found in ledger.faults())
