"""What is remembered of a pick: the decision ring, the log line, the counters, the request in flight."""

from collections.abc import Callable
from functools import partial
from typing import Protocol

from epp.core.endpoints import PoolSnapshot
from epp.core.outcomes import Refused
from epp.core.router import Policy
from epp.core.tokens import Tokenized
from epp.picking.active import ActiveRequest, ActiveRequests
from epp.picking.asking import Asked
from epp.picking.choice import Choice, Question
from epp.picking.explaining import reason_line, summary
from epp.telemetry.logs import FieldLog
from epp.telemetry.recent import Decision, RecentDecisions
from epp.telemetry.requests import RequestLabels, RequestMetrics

_MAX_TEXT = 256
"""Clients name models and requests as they like; what is kept of such a name is bounded."""


class Recording(Protocol):
    """What a pick tells on its way."""

    def understood(self, asked: Asked) -> None:
        """A request could be read, if not every header of it."""
        ...

    def picked(self, asked: Asked, question: Question, choice: Choice, snapshot: PoolSnapshot) -> str:
        """A worker was chosen; returns the reason in one line."""
        ...

    def refused(self, asked: Asked, refused: Refused) -> Refused:
        """Nobody was chosen; returns ``refused``."""
        ...

    def unreadable(self, request_id: str, refused: Refused) -> Refused:
        """The request could not be understood at all; returns ``refused``."""
        ...

    def timed(self, asked: Asked, *, scheduling_s: float, now_s: float) -> None:
        """How long the choice and the whole request took here."""
        ...


class Unrecorded:
    """For a program that only asks (satisfies :class:`Recording`): nothing is kept, counted or logged."""

    def understood(self, asked: Asked) -> None:
        """Nothing."""

    def picked(self, asked: Asked, question: Question, choice: Choice, snapshot: PoolSnapshot) -> str:  # noqa: ARG002 -- see the protocol
        """The reason alone."""
        return reason_line(choice, question.tokens)

    def refused(self, asked: Asked, refused: Refused) -> Refused:  # noqa: ARG002 -- see the protocol
        """As it is."""
        return refused

    def unreadable(self, request_id: str, refused: Refused) -> Refused:  # noqa: ARG002 -- see the protocol
        """As it is."""
        return refused

    def timed(self, asked: Asked, *, scheduling_s: float, now_s: float) -> None:
        """Nothing."""


class Recorder:
    """Remembers, counts and logs; decides nothing (satisfies :class:`Recording`)."""

    def __init__(
        self,
        active: ActiveRequests,
        metrics: RequestMetrics,
        recent: RecentDecisions,
        log: FieldLog,
        wall_clock: Callable[[], float],
    ) -> None:
        self._active = active
        self._metrics = metrics
        self._recent = recent
        self._log = log
        self._wall_clock = wall_clock

    def understood(self, asked: Asked) -> None:
        """A request could be read, if not every header of it."""
        for header, reason in asked.unreadable:
            self._metrics.header_error(header, reason)

    def picked(self, asked: Asked, question: Question, choice: Choice, snapshot: PoolSnapshot) -> str:
        """A worker was chosen, and booked if the question said so; returns the reason in one line. The token
        ids themselves are not kept."""
        tokens = question.tokens
        told = Tokenized(b"", tokens.exactness, tokens.prompt_tokens, tokens.degraded)
        endpoint = snapshot.by_worker[choice.selection.worker.worker_id]
        decision = Decision(
            request_id=asked.request_id[:_MAX_TEXT],
            at_unix_s=self._wall_clock(),
            model=asked.client_model[:_MAX_TEXT],
            policy=choice.policy,
            endpoint=endpoint.host_port,
            reason=reason_line(choice, told),
            summary=partial(summary, choice, told, snapshot),
        )
        self._recent.add(decision)
        labels = self._labels(asked)
        self._metrics.picked(labels, choice.selection, asked.request.body_bytes, endpoint)
        self._metrics.degraded(tokens)
        self._write(asked.request_id, asked.client_model, "picked", decision.endpoint, decision.reason)
        if question.booking is not None:
            prefiller = snapshot.by_worker.get(choice.prefiller.worker_id)
            awaits = choice.stores_blocks and prefiller is not None and prefiller.kv_events is not None
            self._follow(question.booking, labels, asked, decision, awaits_event=awaits)
            _predict(decision, question, choice)
        return decision.reason

    def refused(self, asked: Asked, refused: Refused) -> Refused:
        """Nobody was chosen; returns ``refused``."""
        self._metrics.refused(self._labels(asked), refused)
        self._write(asked.request_id, asked.client_model, "refused", str(refused.status), refused.message)
        return refused

    def unreadable(self, request_id: str, refused: Refused) -> Refused:
        """The request could not be understood at all; returns ``refused``."""
        self._metrics.refused(self._metrics.labels("", "", "", 0), refused)
        self._write(request_id, "", "refused", str(refused.status), refused.message)
        return refused

    def timed(self, asked: Asked, *, scheduling_s: float, now_s: float) -> None:
        """How long the choice and the whole request took here."""
        self._metrics.timed(scheduling_s=scheduling_s, processing_s=now_s - asked.started_s)

    def _labels(self, asked: Asked) -> RequestLabels:
        intent = asked.intent
        return self._metrics.labels(
            asked.client_model, intent.model, intent.fairness_id or "", intent.priority
        )

    def _follow(
        self, booking: int, labels: RequestLabels, asked: Asked, decision: Decision, *, awaits_event: bool
    ) -> None:
        streaming = asked.request.stream
        request = ActiveRequest(booking, labels, asked.started_s, streaming, decision, awaits_event)
        self._active.add(request)

    def _write(self, request_id: str, model: str, event: str, answer: str, reason: str) -> None:
        if self._log.enabled:
            fields = {
                "request_id": request_id[:_MAX_TEXT],
                "model": model[:_MAX_TEXT],
                "answer": answer,
                "reason": reason,
            }
            self._log.line(event, fields)


def _predict(decision: Decision, question: Question, choice: Choice) -> None:
    """Where no event will tell the time to the first token, the estimate is all there is to show."""
    estimated = question.explain or choice.policy == Policy.TTFT
    if estimated and choice.selection.prompt_tokens > 0 and not choice.stores_blocks:
        decision.ttft_ms = round(choice.selection.predicted_ttft_s * 1e3, 3)
        decision.ttft_source = "predicted"
