"""Whether the pool can serve at all, and what it is missing."""

from dataclasses import dataclass
from typing import Final

from epp.core.endpoints import Endpoint, PoolSnapshot, Role
from epp.core.requests import Api
from frontend.errors import ApiError, bad_request, unavailable
from frontend.routing.known import listed

_NOTHING: Final = PoolSnapshot.of(())
_SPLITTABLE: Final = frozenset(
    {Api.CHAT, Api.COMPLETIONS, Api.RESPONSES, Api.MESSAGES, Api.VLLM_GENERATE, Api.SGLANG_GENERATE}
)


@dataclass(frozen=True, slots=True)
class Missing:
    """Roles a pool lacks; empty: it is complete."""

    roles: tuple[Role, ...]

    @classmethod
    def of(cls, snapshot: PoolSnapshot) -> "Missing":
        """Aggregated workers need nobody; prefill and decode workers need each other."""
        present = {endpoint.role for endpoint in snapshot.endpoints}
        if Role.AGGREGATED in present:
            return cls(())
        pair = {Role.PREFILL, Role.DECODE} & present
        if not pair:
            return cls((Role.AGGREGATED,))
        return cls(tuple(role for role in (Role.PREFILL, Role.DECODE) if role not in present))


class PoolWatch:
    """:class:`Missing`, worked out once per snapshot."""

    def __init__(self) -> None:
        self._snapshot = _NOTHING
        self._missing = Missing.of(_NOTHING)

    def missing(self, snapshot: PoolSnapshot) -> Missing:
        """Of this snapshot."""
        if snapshot is not self._snapshot:
            self._snapshot, self._missing = snapshot, Missing.of(snapshot)
        return self._missing


def splittable(api: Api) -> bool:
    """Whether requests of an API have a prefill and a decode; others any serving worker does alone."""
    return api in _SPLITTABLE


def not_ready(model: str, detail: str) -> ApiError:
    """503: nobody can serve the model now. ``detail`` is a sentence without its full stop."""
    return unavailable(f"Model `{model[:256]}` is not ready to serve requests yet. ({detail}.)")


def incomplete(model: str, missing: Missing) -> ApiError:
    """503 for a pool that lacks a role."""
    if missing.roles == (Role.AGGREGATED,):
        return not_ready(model, "No worker is known")
    return not_ready(model, f"No {' or '.join(missing.roles)} worker is known")


def taints_of(endpoint: Endpoint) -> frozenset[str]:
    """An endpoint's labels in the form requests ask for them: ``key=value``."""
    return frozenset(f"{key}={value}" for key, value in endpoint.labels.items())


def check_taints(required: frozenset[str], candidates: tuple[Endpoint, ...]) -> None:
    """Raises ApiError (400) if no candidate has every taint required."""
    having = [taints_of(endpoint) for endpoint in candidates]
    if any(required <= taints for taints in having):
        return
    known = sorted(frozenset[str]().union(*having))
    asked = ", ".join(f"`{taint}`" for taint in sorted(required))
    of = f"worker {listed(candidates)}" if len(candidates) == 1 else "any worker"
    raise bad_request(
        f"`nvext.routing_constraints.required_taints` asks for {asked}, which {of} does not have together; "
        f"known are {', '.join(known[:_SHOWN]) or 'none'}."
    )


_SHOWN: Final = 16
"""Taints listed in a message."""
