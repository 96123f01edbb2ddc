"""A worker that failed a request, as the segments above hear of it and as the client is told."""

from http import HTTPStatus
from typing import Final

from frontend.errors import ApiError
from frontend.http.api import Failure, UpstreamError
from frontend.pipeline.call import Leg

_ANSWERS: Final = {
    Failure.CONNECT: (503, "The worker chosen for this request cannot be reached."),
    Failure.RESET: (502, "The worker broke off before its answer was complete."),
    Failure.TIMEOUT: (504, "The worker did not answer in time."),
    Failure.PROTOCOL: (502, "The worker's answer could not be understood."),
    Failure.TOO_LARGE: (502, "The worker's answer is larger than this frontend takes."),
}
_CAUSES: Final = {503: "unavailable", 504: "response_timeout"}


class WorkerLostError(ApiError):
    """No (whole) answer came. Segments that know another worker may try again; nobody else has to care."""

    def __init__(self, failure: Failure, worker_id: int) -> None:
        status, message = _ANSWERS[failure]
        super().__init__(status, message, cause=_CAUSES.get(status, "internal"))
        self.failure = failure
        self.worker_id = worker_id
        """Whom to pass over from now on."""

    @property
    def unbegun(self) -> bool:
        """The worker certainly did nothing for this request."""
        return self.failure is Failure.CONNECT

    @property
    def repeatable(self) -> bool:
        """Another worker may be asked at once: this one did nothing, or says itself that it failed."""
        return self.unbegun


class WorkerFaultError(WorkerLostError):
    """The worker answered with a fault of its own before anything else. What it said stays in the log."""

    def __init__(self, worker_id: int) -> None:
        super().__init__(Failure.RESET, worker_id)
        self.status, self.type = 500, HTTPStatus.INTERNAL_SERVER_ERROR.phrase
        self.message = "The worker failed to serve this request."

    @property
    def repeatable(self) -> bool:
        """See WorkerLostError."""
        return True


def lost(error: UpstreamError, leg: Leg) -> WorkerLostError:
    """The failure of ``leg`` that ``error`` means."""
    return WorkerLostError(error.failure, leg.endpoint.worker_id)
