"""The router of the core: thin, typed calls over flat buffers. Any thread may call anything."""

from collections.abc import Callable
from types import TracebackType
from typing import Self

from cabi import reading
from cabi._native import ffi, lib
from cabi.buffers import Buffer, view
from cabi.cdata import CData
from cabi.events import EventBatch
from cabi.question import Request
from cabi.records import (
    LoadReport,
    LoadSample,
    Options,
    PrefillDone,
    RankLoad,
    Report,
    Selection,
    Stats,
    Terms,
    Worker,
)
from cabi.status import Status, check

_FIRST_CAPACITY = 64
"""Room tried first for results of unknown number; the core says when it is too little."""
_REASON_BYTES = 256
_TERMS = ffi.typeof("epp_terms[]")
_uncleared = ffi.new_allocator(should_clear_after_alloc=False)
"""For what the core writes before anybody reads it."""


class Router:
    """Workers, resident blocks, bookings, and the choice among them. Close it, or use it in ``with``."""

    def __init__(self, options: Options | None = None) -> None:
        """Raises ArgumentError or OutOfMemoryError."""
        given = options or Options()
        struct = ffi.new("epp_options *")
        lib.epp_options_init(struct)
        for name in Options.__slots__:
            setattr(struct, name, getattr(given, name))
        out = ffi.new("epp_router **")
        check(lib.epp_router_new(struct, out))
        self._handle: CData = ffi.gc(out[0], lib.epp_router_free)
        self._terms_capacity = _FIRST_CAPACITY

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the memory back. No other call may follow, nor be under way."""
        ffi.release(self._handle)

    # --- workers -------------------------------------------------------------------------------------

    def upsert_worker(self, worker: Worker) -> tuple[int, ...]:
        """Add a worker or change it; returns the bookings that ended with removed ranks."""
        struct = ffi.new("epp_worker *")
        lib.epp_worker_init(struct)
        for name in Worker.__slots__:
            if name != "taints":
                setattr(struct, name, getattr(worker, name))
        taints = ffi.new("uint64_t[]", worker.taints)
        return _ids(
            lambda out, capacity, count: lib.epp_router_upsert_worker(
                self._handle, struct, taints, len(worker.taints), out, capacity, count
            )
        )

    def remove_worker(self, worker_id: int) -> tuple[int, ...]:
        """Forget a worker; returns the bookings dropped."""
        return _ids(
            lambda out, capacity, count: lib.epp_router_remove_worker(
                self._handle, worker_id, out, capacity, count
            )
        )

    def set_load(self, worker_id: int, rank: int, load: LoadSample) -> None:
        """Record scraped load; ignored for unknown workers or ranks."""
        check(lib.epp_router_set_load(self._handle, worker_id, rank, ffi.new("epp_load_sample *", load)))

    def drop_blocks(self, worker_id: int, rank: int) -> int:
        """Forget every block of one rank; returns how many."""
        count = ffi.new("size_t *")
        check(lib.epp_router_drop_blocks(self._handle, worker_id, rank, count))
        return int(count[0])

    # --- events --------------------------------------------------------------------------------------

    def apply(self, worker_id: int, rank: int, batch: EventBatch, now_s: float) -> Report:
        """Apply flat events to one rank, in order."""
        arguments = batch.arguments()
        return _report(
            lambda *results: lib.epp_router_apply(self._handle, worker_id, rank, now_s, *arguments, *results)
        )

    def apply_payload(self, worker_id: int, rank: int, payload: Buffer, now_s: float) -> Report:
        """Apply one engine message, msgpack as it came."""
        data, n_bytes = view(payload), memoryview(payload).nbytes
        return _report(
            lambda *results: lib.epp_router_apply_payload(
                self._handle, worker_id, rank, now_s, data, n_bytes, *results
            )
        )

    # --- choosing ------------------------------------------------------------------------------------

    def select(self, request: Request, *, explain: bool = False) -> Selection | Status:
        """Choose, and book if asked; a status from 100 on says why nobody was chosen.

        ``explain``: with every candidate's terms. Raises ArgumentError, DuplicateBookingError, BoundError.
        """
        choose = lib.epp_select_and_reserve if request.reserves else lib.epp_select_worker
        out, terms, capacity, count = ffi.new("epp_selection *"), ffi.NULL, 0, ffi.NULL
        if explain:
            count = ffi.new("size_t *", self._terms_capacity)
        while True:
            if explain:
                capacity = int(count[0])
                terms = _uncleared(_TERMS, capacity)
            status: int = choose(self._handle, *request.arguments, out, terms, capacity, count)
            if status != Status.BUFFER:
                break
            self._terms_capacity = int(count[0])
        if status >= Status.NO_WORKERS:
            return Status(status)
        check(status)
        return reading.selection(out, terms, int(count[0]) if explain else 0)

    def measure(self, request: Request) -> tuple[Terms, ...]:
        """The terms of every eligible candidate; nothing chosen, nothing booked."""
        count = ffi.new("size_t *", self._terms_capacity)
        while True:
            capacity = int(count[0])
            terms = _uncleared(_TERMS, capacity)
            status: int = lib.epp_router_measure(self._handle, *request.arguments, terms, capacity, count)
            if status != Status.BUFFER:
                check(status)
                return reading.terms(terms, int(count[0]))
            self._terms_capacity = int(count[0])

    # --- bookings ------------------------------------------------------------------------------------

    def prefill_complete(self, booking: int, now_s: float) -> PrefillDone | None:
        """The prompt is computed; None if that was known. Raises UnknownBookingError."""
        running, done = ffi.new("uint32_t *"), ffi.new("epp_prefill_done *")
        check(lib.epp_router_prefill_complete(self._handle, booking, now_s, running, done))
        return reading.prefill_done(done) if running[0] else None

    def output_block(self, booking: int, decay: float | None = None) -> None:
        """One more block of output exists. Raises UnknownBookingError, ArgumentError."""
        check(lib.epp_router_output_block(self._handle, booking, -1.0 if decay is None else decay))

    def renew(self, booking: int, now_s: float) -> None:
        """Start the lease anew. Raises UnknownBookingError."""
        check(lib.epp_router_renew(self._handle, booking, now_s))

    def end_booking(self, booking: int) -> None:
        """End a booking. Raises UnknownBookingError."""
        check(lib.epp_router_end_booking(self._handle, booking))

    def expire(self, now_s: float) -> tuple[int, ...]:
        """End what is over at ``now_s``; returns the bookings."""
        return _ids(
            lambda out, capacity, count: lib.epp_router_expire(self._handle, now_s, out, capacity, count)
        )

    # --- looking inside ------------------------------------------------------------------------------

    def loads(self) -> tuple[RankLoad, ...]:
        """Booked load of every rank, ordered by (worker id, rank)."""
        count, capacity = ffi.new("size_t *"), _FIRST_CAPACITY
        while True:
            out = ffi.new("epp_rank_load[]", capacity)
            status: int = lib.epp_router_loads(self._handle, out, capacity, count)
            if status != Status.BUFFER:
                check(status)
                return tuple(reading.rank_load(out[i]) for i in range(count[0]))
            capacity = int(count[0])

    def stats(self) -> Stats:
        """Sizes, for gauges."""
        out = ffi.new("epp_stats *")
        check(lib.epp_router_stats(self._handle, out))
        return Stats(*(int(getattr(out, name)) for name in Stats._fields))

    def validate(self) -> str | None:
        """None when every invariant holds, else what is broken."""
        reason = ffi.new("char[]", _REASON_BYTES)
        check(lib.epp_router_validate(self._handle, reason, _REASON_BYTES))
        return bytes(ffi.string(reason)).decode() or None

    # --- snapshots -----------------------------------------------------------------------------------

    def dump(self, now_s: float) -> bytes:
        """Residency as bytes that another process can load."""
        count = ffi.new("size_t *")
        out: CData = ffi.NULL
        while True:
            capacity = int(count[0])
            status: int = lib.epp_router_dump(self._handle, now_s, out, capacity, count)
            if status != Status.BUFFER:
                check(status)
                return bytes(ffi.buffer(out, count[0]))
            out = ffi.new("char[]", int(count[0]))

    def load(self, snapshot: Buffer, now_s: float) -> LoadReport:
        """Take over a snapshot for ranks that are known and hold nothing. Raises SnapshotError."""
        out = ffi.new("epp_load_report *")
        n_bytes = memoryview(snapshot).nbytes
        check(lib.epp_router_load(self._handle, now_s, view(snapshot), n_bytes, out))
        return LoadReport(*(int(getattr(out, name)) for name in LoadReport._fields))


def _ids(call: Callable[[CData, int, CData], int]) -> tuple[int, ...]:
    """Ids a call writes, with more room if it asks for some."""
    count, capacity = ffi.new("size_t *"), _FIRST_CAPACITY
    while True:
        out = ffi.new("uint64_t[]", capacity)
        status = call(out, capacity, count)
        if status != Status.BUFFER:
            check(status)
            return tuple(ffi.unpack(out, count[0])) if count[0] else ()
        capacity = int(count[0])


def _report(call: Callable[..., int]) -> Report:
    """A report and its facts, with more room if the call asks for some."""
    report, n_done, n_decode = ffi.new("epp_report *"), ffi.new("size_t *"), ffi.new("size_t *")
    capacity = _FIRST_CAPACITY
    while True:
        done = ffi.new("epp_prefill_done[]", capacity)
        decode = ffi.new("epp_decode_progress[]", capacity)
        status = call(report, done, capacity, n_done, decode, capacity, n_decode)
        if status != Status.BUFFER:
            check(status)
            return reading.report(report, (done, int(n_done[0])), (decode, int(n_decode[0])))
        capacity = max(int(n_done[0]), int(n_decode[0]))
