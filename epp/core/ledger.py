"""Bookings: what was sent where and is not finished yet (``docs/algorithms.md`` section 3).

A booking has a *prefill leg*, which ends when the prompt is computed, and a *decode leg*, which ends with
the booking. On an aggregated worker both are on one rank. Each leg's load stands in the
:class:`~epp.core.ledger_rank.RankBook` of its rank; only this module moves it in and out.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from math import inf
from typing import NamedTuple

from epp.core.endpoints import WorkerRank
from epp.core.ledger_rank import BLOCK_UNITS, QueuedPrefill, RankBook, units_of
from epp.core.router import PrefillDone, UnknownBookingError


@dataclass(frozen=True, slots=True)
class BookingOrder:
    """Everything a new booking is made of."""

    booking: int
    now_s: float
    lease_s: float
    expected_output_tokens: int
    prefill: WorkerRank
    prefill_chain: tuple[int, ...]
    """Full prompt blocks, in the prefill worker's block size."""
    prefill_at_once: bool
    """Nothing is to be computed, so nothing will be reported."""
    work_tokens: int
    load_tokens: int
    """``work_tokens``, or 0 when the prefill is not to be tracked."""
    decode: WorkerRank
    decode_chain: tuple[int, ...]
    """Full prompt blocks, in the decode worker's block size."""
    decode_block_tokens: int
    share_blocks: bool


@dataclass(slots=True)
class _Booking:
    order: BookingOrder
    expires_at_s: float
    prefilling: bool
    estimate_s: float = 0.0
    tip: int | None = None
    outputs: int = 0
    unshared_weight: int = BLOCK_UNITS
    output_units: int = 0

    @property
    def split(self) -> bool:
        return self.order.prefill != self.order.decode

    @property
    def tracked(self) -> tuple[int, ...]:
        return self.order.decode_chain if self.order.share_blocks else ()

    @property
    def unshared_units(self) -> int:
        """Units of everything nobody can share: output, and the prompt if it was booked so."""
        prompt = 0 if self.order.share_blocks else len(self.order.decode_chain)
        return prompt * self.unshared_weight + self.output_units

    def touches(self, rank: WorkerRank) -> bool:
        """True while a leg of it that has not ended is on ``rank``."""
        return self.order.decode == rank or (self.prefilling and self.order.prefill == rank)


class Seen(NamedTuple):
    """What one stored block told."""

    done: tuple[PrefillDone, ...]
    advanced: int | None
    """The booking that has one more block of output."""


class Ledger:
    """All bookings and the books of all ranks."""

    def __init__(self, default_tokens_per_s: float) -> None:
        self._default_tokens_per_s = default_tokens_per_s
        self._books: dict[WorkerRank, RankBook] = {}
        self._bookings: dict[int, _Booking] = {}

    def __len__(self) -> int:
        return len(self._bookings)

    def __contains__(self, booking: int) -> bool:
        return booking in self._bookings

    # --- ranks ---------------------------------------------------------------------------------------

    def open(self, rank: WorkerRank) -> None:
        """Keep books of a rank; nothing changes if they exist."""
        self._books.setdefault(rank, RankBook())

    def close(self, rank: WorkerRank) -> list[int]:
        """End every booking with a live leg on a rank and forget its books; returns those bookings."""
        ended = [number for number, booking in self._bookings.items() if booking.touches(rank)]
        for number in ended:
            self.free(number)
        self._books.pop(rank, None)
        return ended

    def book_of(self, rank: WorkerRank) -> RankBook:
        """The books of an open rank."""
        return self._books[rank]

    def fallback_rate(self) -> float:
        """Prefill tokens/s of a rank whose rate is not learnt: the best learnt anywhere, else the prior.
        Optimism makes an unknown rank be tried, after which it is known."""
        learnt = max((book.rate.tokens_per_s for book in self._books.values()), default=0.0)
        return learnt or self._default_tokens_per_s

    # --- one booking ---------------------------------------------------------------------------------

    def book(self, order: BookingOrder) -> None:
        """Enter a new booking; its id must not be in use."""
        booking = _Booking(order, order.now_s + order.lease_s, prefilling=not order.prefill_at_once)
        self._bookings[order.booking] = booking
        book = self._books[order.decode]
        book.active_requests += 1
        book.track(booking.tracked)
        book.units += booking.unshared_units
        if order.decode_chain:
            self._set_tip(booking, order.decode_chain[-1])
        if booking.prefilling:
            self._start_prefill(booking)

    def prefill_complete(self, number: int, now_s: float) -> PrefillDone | None:
        """The caller knows that the prompt is computed; None: so did we."""
        booking = self._find(number)
        if not booking.prefilling:
            return None
        self._finish_prefill(booking, now_s, learn=True)
        return PrefillDone(number, now_s, booking.order.now_s, exact=False)

    def output_block(self, number: int, decay: float | None) -> None:
        """One more block of output; ``decay`` becomes the weight of what only this booking holds."""
        booking = self._find(number)
        book = self._books[booking.order.decode]
        booking.outputs += 1
        before = booking.unshared_units
        booking.output_units += BLOCK_UNITS
        if decay is not None:
            weight = units_of(decay)
            booking.output_units = booking.outputs * weight
            booking.unshared_weight = weight
            book.decay(booking.tracked, weight)
        book.units += booking.unshared_units - before

    def renew(self, number: int, now_s: float) -> None:
        """Start the lease anew."""
        booking = self._find(number)
        booking.expires_at_s = now_s + booking.order.lease_s

    def free(self, number: int) -> None:
        """End a booking."""
        booking = self._find(number)
        if booking.prefilling:
            self._leave_prefill(booking)
        book = self._books[booking.order.decode]
        book.active_requests -= 1
        book.untrack(booking.tracked)
        book.units -= booking.unshared_units
        self._set_tip(booking, None)
        del self._bookings[number]

    # --- time and events -----------------------------------------------------------------------------

    def expire(self, now_s: float, has_events: Callable[[WorkerRank], bool]) -> tuple[int, ...]:
        """End bookings whose lease is over and return them; then take estimated prefills, on ranks that
        do not report, as done."""
        ended = sorted(n for n, booking in self._bookings.items() if booking.expires_at_s <= now_s)
        for number in ended:
            self.free(number)
        due = [
            (booking.estimate_s, number)
            for number, booking in self._bookings.items()
            if booking.prefilling and booking.estimate_s <= now_s and not has_events(booking.order.prefill)
        ]
        for estimate_s, number in sorted(due):
            self._finish_prefill(self._bookings[number], estimate_s, learn=False)
        return tuple(ended)

    def seen(self, rank: WorkerRank, sequence: int, previous: int | None, now_s: float) -> Seen:
        """The rank's engine stored a block, the one after ``previous`` (None: a root).

        Prefills that awaited it are done. If it follows the last block known of some booking's output, and
        is not part of anyone's prompt, that booking has one more block of output.
        """
        book = self._books[rank]
        is_prompt = sequence in book.tracked or sequence in book.pending
        done = [self._finish_by_event(number, now_s) for number in sorted(book.awaiting.get(sequence, ()))]
        waiting = None if previous is None or is_prompt else book.tips.get(previous)
        if not waiting:
            return Seen(tuple(done), None)
        number = min(waiting)
        booking = self._bookings[number]
        self._set_tip(booking, sequence)
        self.output_block(number, _expected_decay(booking))
        self.renew(number, now_s)
        if booking.prefilling and booking.order.prefill == rank:
            done.append(self._finish_by_event(number, now_s))
        return Seen(tuple(done), number)

    # --- upkeep --------------------------------------------------------------------------------------

    def faults(self) -> Iterator[str]:
        """Every broken invariant, in words."""
        for rank, book in self._books.items():
            here = [b for b in self._bookings.values() if b.touches(rank)]
            yield from (f"{rank}: {fault}" for fault in book.faults())
            if book.active_requests != len(here):
                yield f"{rank}: {book.active_requests} active requests counted, {len(here)} booked"
            if book.unfinished != sum(b.prefilling and b.order.prefill == rank for b in here):
                yield f"{rank}: unfinished prefills miscounted"
            decoding = [b for b in here if b.order.decode == rank]
            units = sum(block.units for block in book.tracked.values())
            if book.units != units + sum(b.unshared_units for b in decoding):
                yield f"{rank}: decode load differs from its bookings"
            references = sum(block.references for block in book.tracked.values())
            if references != sum(len(b.tracked) for b in decoding):
                yield f"{rank}: tracked references differ from its bookings"

    def _find(self, number: int) -> _Booking:
        booking = self._bookings.get(number)
        if booking is None:
            raise UnknownBookingError(number)
        return booking

    def _start_prefill(self, booking: _Booking) -> None:
        order, book = booking.order, self._books[booking.order.prefill]
        book.unfinished += 1
        book.pending.update(order.prefill_chain)
        if booking.split:
            book.active_requests += 1
        if order.load_tokens:
            book.queue[order.booking] = QueuedPrefill(order.load_tokens, order.now_s)
            book.active_prefill_tokens += order.load_tokens
        if order.prefill_chain:
            book.awaiting.setdefault(order.prefill_chain[-1], set()).add(order.booking)
        rate = book.rate.tokens_per_s or self.fallback_rate()
        booking.estimate_s = max(order.now_s, book.tail_estimate_s) + order.work_tokens / rate
        book.tail_estimate_s = booking.estimate_s

    def _finish_by_event(self, number: int, now_s: float) -> PrefillDone:
        booking = self._bookings[number]
        self._finish_prefill(booking, now_s, learn=True)
        self.renew(number, now_s)
        return PrefillDone(number, now_s, booking.order.now_s, exact=True)

    def _finish_prefill(self, booking: _Booking, at_s: float, *, learn: bool) -> None:
        order, book = booking.order, self._books[booking.order.prefill]
        if learn and order.load_tokens:
            turn_s = max(order.now_s, book.last_done_s)
            book.rate.learn(order.load_tokens, max(0.0, at_s - turn_s))
        self._leave_prefill(booking)
        book.last_done_s = max(book.last_done_s, at_s)

    def _leave_prefill(self, booking: _Booking) -> None:
        order, book = booking.order, self._books[booking.order.prefill]
        booking.prefilling = False
        book.unfinished -= 1
        if not book.unfinished:
            book.tail_estimate_s = -inf
        _subtract(book.pending, order.prefill_chain)
        if booking.split:
            book.active_requests -= 1
        queued = book.queue.pop(order.booking, None)
        if queued:
            book.active_prefill_tokens -= queued.tokens
        if order.prefill_chain:
            _discard(book.awaiting, order.prefill_chain[-1], order.booking)

    def _set_tip(self, booking: _Booking, tip: int | None) -> None:
        tips = self._books[booking.order.decode].tips
        if booking.tip is not None:
            _discard(tips, booking.tip, booking.order.booking)
        if tip is not None:
            tips.setdefault(tip, set()).add(booking.order.booking)
        booking.tip = tip


def _expected_decay(booking: _Booking) -> float | None:
    expected = booking.order.expected_output_tokens
    if not expected:
        return None
    produced = (booking.outputs + 1) * booking.order.decode_block_tokens
    return max(0.0, 1.0 - produced / expected)


def _subtract(counts: dict[int, int], sequences: Iterable[int]) -> None:
    for sequence in sequences:
        counts[sequence] -= 1
        if not counts[sequence]:
            del counts[sequence]


def _discard(sets: dict[int, set[int]], key: int, number: int) -> None:
    sets[key].discard(number)
    if not sets[key]:
        del sets[key]
