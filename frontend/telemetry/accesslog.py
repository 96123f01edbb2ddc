"""One line per request: who asked what, who served it, why that one, how long it took."""

from typing import Any, Final

from epp.telemetry.logs import FieldLog
from frontend.pipeline.call import Call, Leg
from frontend.visit import Visit

_MAX_TEXT: Final = 256
"""Clients choose paths, models and ids; what is kept of them is bounded."""


class AccessLog:
    """Writes the lines."""

    def __init__(self, log: FieldLog) -> None:
        self._log = log

    def write(self, visit: Visit) -> None:
        """A request is over. Pages of our own are logged only if they failed: probes would drown the rest."""
        if not self._log.enabled or (visit.api is None and visit.status < 400):
            return
        self._log.line("request", fields_of(visit))


def fields_of(visit: Visit) -> dict[str, Any]:
    """The fields of a line."""
    request, call = visit.request, visit.call
    fields: dict[str, Any] = {
        "method": request.method,
        "path": request.path[:_MAX_TEXT],
        "status": visit.status,
        "client": request.peer,
        "duration_ms": _ms(visit.ended_s - request.received_s),
    }
    if visit.error_type:
        fields["error_type"] = visit.error_type
    if call is not None:
        fields |= _call_fields(call)
    return fields


def _call_fields(call: Call) -> dict[str, Any]:
    asked = call.asked_model[:_MAX_TEXT]
    fields: dict[str, Any] = {"request_id": call.request_id[:_MAX_TEXT], "model": asked}
    route, facts = call.route, call.facts
    if route is not None:
        fields["worker"] = _name(route.worker)
        if route.prefill is not None:
            fields["prefill"] = _name(route.prefill)
        fields["reason"] = route.reason
    if facts.first_token_s is not None and call.stream:
        fields["ttft_ms"] = _ms(facts.first_token_s - call.arrived_s)
    for name in ("prompt_tokens", "cached_tokens", "output_tokens", "migrations", "fallback"):
        if value := getattr(facts, name):
            fields[name] = value
    if facts.queued_s:
        fields["queued_ms"] = _ms(facts.queued_s)
    return fields


def _name(leg: Leg) -> str:
    name = f"{leg.endpoint.name}@{leg.endpoint.host_port}"
    return name if leg.told_rank is None else f"{name}#{leg.told_rank}"


def _ms(seconds: float) -> float:
    return round(seconds * 1e3, 3)
