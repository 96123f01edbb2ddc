"""Why a request was served otherwise than split: values of a metric label, and the failure of a prefill."""

from enum import StrEnum

from epp.core.outcomes import HeaderPairs
from frontend.http.api import Failure
from frontend.pipeline.lost import WorkerLostError


class Reason(StrEnum):
    """One word per cause; the set is closed, so it can label a metric."""

    CONNECT = "connect"
    """The prefill worker could not be connected to."""
    RESET = "reset"
    """It broke off."""
    TIMEOUT = "timeout"
    """It took longer than ``prefill_timeout_s``."""
    PROTOCOL = "protocol"
    """It answered with what is no HTTP, or too much of it."""
    REFUSED = "refused"
    """It answered with a 4xx."""
    ERROR = "error"
    """It answered with a 5xx or a redirect."""
    NO_HANDOVER = "no-handover"
    """Its answer lacks what the decode worker needs; it is probably not configured as a prefill worker."""
    PROMPT_BELOW = "prompt-below-threshold"
    UNCACHED_BELOW = "uncached-below-threshold"
    SAMPLES = "several-samples"
    """The contract carries one sequence; the request wants several."""
    PROMPT_LOGPROBS = "prompt-logprobs"
    """Only who computes a prompt knows its logprobs."""
    API = "api"
    """The engine has no hand-over in this API."""
    ENGINE = "engine"
    """The engine has no contract that is known here."""
    ROLE = "role"
    """The worker is not a decode worker and its engine could not take anything over."""


class PrefillError(Exception):
    """A prefill leg that brought nothing to decode from. The message is fit for a client."""

    def __init__(
        self,
        reason: Reason,
        message: str,
        *,
        status: int = 502,
        headers: HeaderPairs = (),
        body: bytes = b"",
        failure: Failure | None = None,
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.failure = failure
        """How the connection failed; None: there was an answer."""
        self.status = status
        """What a client is told if there is no way around."""
        self.headers = headers
        """Of the worker's refusal."""
        self.body = body
        """The worker's refusal, to be passed on as it is; empty: there is none."""

    @property
    def workers_fault(self) -> bool:
        """Whether the worker failed, rather than refused."""
        return self.reason is not Reason.REFUSED


class PrefillLostError(WorkerLostError):
    """A prefill worker that was lost, as retries and the client hear of it."""

    def __init__(self, failure: Failure, worker_id: int, message: str) -> None:
        super().__init__(failure, worker_id)
        self.message = message


_LOST: dict[Failure, tuple[Reason, str]] = {
    Failure.CONNECT: (Reason.CONNECT, "The prefill worker cannot be reached."),
    Failure.RESET: (Reason.RESET, "The prefill worker broke off."),
    Failure.TIMEOUT: (Reason.TIMEOUT, "The prefill worker did not answer in time."),
    Failure.PROTOCOL: (Reason.PROTOCOL, "The prefill worker's answer cannot be understood."),
    Failure.TOO_LARGE: (Reason.PROTOCOL, "The prefill worker's answer is too large."),
}


def lost(failure: Failure) -> PrefillError:
    """What a broken connection to a prefill worker means."""
    reason, message = _LOST[failure]
    return PrefillError(reason, message, failure=failure)


def no_handover(message: str) -> PrefillError:
    """An answer nobody can decode from."""
    return PrefillError(Reason.NO_HANDOVER, message)
