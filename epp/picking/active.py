"""Requests in flight: what is remembered of a pick until its stream ends.

A booking lives in the router; here is what the router does not need: which request it was, when it
arrived, under which labels it is counted. The event stream reports prefill and decode progress by
booking, so this table turns those reports into TTFT of a request. Bounded: an entry has a booking in the
router, which bounds those, or an open stream, which the door bounds.
"""

from msgspec import Struct

from epp.core.endpoints import WorkerRank
from epp.core.outcomes import Ending, ResponseFacts
from epp.core.router import ApplyReport, PrefillDone, Router, UnknownBookingError
from epp.telemetry.recent import Decision
from epp.telemetry.requests import RequestLabels, RequestMetrics

_WORKER_GONE = "worker-gone"
_LEASE_ENDED = "lease-ended"
"""Endings of bookings whose stream is not there to tell one."""

_LINGER_S = 0.25
"""A short answer can be over before the event of its prompt is read: its booking waits this long for it, so
that neither the time to first token nor a sample of the prefill rate is lost."""


class ActiveRequest(Struct):
    """One request between its pick and the end of its stream."""

    booking: int
    labels: RequestLabels
    started_s: float
    """When its pick was asked, monotonic."""
    streaming: bool
    """The client wants the answer token by token."""
    decision: Decision
    awaits_event: bool = False
    """The worker's event stream will show when its prompt is computed."""
    held: bool = True
    """Its stream is open, so its lease is renewed; False: events alone keep the booking alive."""


class ActiveRequests:
    """The table, and everything that ends an entry."""

    def __init__(self, router: Router, metrics: RequestMetrics, *, max_lingering: int) -> None:
        """``max_lingering`` bounds the bookings that wait for a late event."""
        self._max_lingering = max_lingering
        self._router = router
        self._metrics = metrics
        self._by_booking: dict[int, ActiveRequest] = {}
        self._lingering: dict[int, tuple[ActiveRequest, float]] = {}
        """Closed requests whose event is on its way still, and until when it is waited for."""

    def __len__(self) -> int:
        return len(self._by_booking)

    def __contains__(self, booking: int) -> bool:
        """Whether a booking is followed here."""
        return booking in self._by_booking

    def add(self, request: ActiveRequest) -> None:
        """Begin to follow a booked request."""
        self._by_booking[request.booking] = request
        self._metrics.started(request.labels)

    def finish(self, booking: int, ending: Ending, facts: ResponseFacts, now_s: float) -> None:
        """The stream ended. A detached one keeps its booking until events or its lease end it."""
        request = self._by_booking.get(booking)
        if request is None:
            return
        if ending is Ending.DETACHED and self._renew(booking, now_s):
            request.held = False
            return
        self._close(request, ending.value, facts, now_s)
        room = len(self._lingering) < self._max_lingering
        if ending is Ending.COMPLETED and request.awaits_event and room:
            self._lingering[booking] = (request, now_s + _LINGER_S)
        else:
            self._release(booking)

    def on_report(self, _target: WorkerRank, report: ApplyReport) -> None:
        """Take what one batch of KV events told about bookings."""
        for done in report.prefill_done:
            self._prefill_done(done)
        for _booking, blocks in report.decode_blocks:
            self._metrics.output_blocks(blocks)

    def on_dropped(self, booking: int, now_s: float) -> None:
        """The booking's worker went away and took the booking with it; an open stream may still end well."""
        request = self._by_booking.get(booking)
        if request is None:
            return
        request.decision.ended = _WORKER_GONE
        if not request.held:
            self._close(request, _WORKER_GONE, ResponseFacts(), now_s)

    def renew_held(self, now_s: float) -> None:
        """Renew the lease of every booking whose stream is open."""
        for booking, request in self._by_booking.items():
            if request.held:
                self._renew(booking, now_s)

    def expire(self, now_s: float) -> None:
        """Drop bookings whose late event never came, and those whose lease ended: detached ones that went
        quiet, or streams that were lost."""
        for booking in [b for b, (_, until_s) in self._lingering.items() if until_s <= now_s]:
            del self._lingering[booking]
            self._release(booking)
        for booking in self._router.expire(now_s):
            self._metrics.expired()
            request = self._by_booking.get(booking)
            if request is not None:
                self._close(request, _LEASE_ENDED, ResponseFacts(), now_s)

    def _prefill_done(self, done: PrefillDone) -> None:
        self._metrics.prefill(done.at_s - done.reserved_at_s, exact=done.exact)
        request = self._by_booking.get(done.booking)
        if done.booking in self._lingering:
            request, _ = self._lingering.pop(done.booking)
            self._release(done.booking)
        if request is None or not done.exact:
            return
        request.awaits_event = False
        ttft_s = done.at_s - request.started_s
        request.decision.ttft_ms = round(ttft_s * 1e3, 3)
        request.decision.ttft_source = "events"
        self._metrics.ttft(request.labels, ttft_s, streaming=request.streaming)

    def _renew(self, booking: int, now_s: float) -> bool:
        """Whether the booking still exists; its worker may have gone and taken it along."""
        try:
            self._router.renew(booking, now_s)
        except UnknownBookingError:
            return False
        return True

    def _release(self, booking: int) -> None:
        try:
            self._router.free(booking)
        except UnknownBookingError:
            return  # its worker went away and took it along

    def _close(self, request: ActiveRequest, ending: str, facts: ResponseFacts, now_s: float) -> None:
        del self._by_booking[request.booking]
        duration_s = now_s - request.started_s
        request.decision.ended = ending
        request.decision.duration_ms = round(duration_s * 1e3, 3)
        self._metrics.finished(request.labels, duration_s, ending, facts)
