"""Whether everything a model needs is there: prefill and decode workers come in pairs."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from epp.core.endpoints import Endpoint, Role
from frontend.errors import ApiError, unavailable

_NEEDS: Final[Mapping[Role, tuple[tuple[Role, ...], ...]]] = {
    Role.AGGREGATED: (),
    Role.PREFILL: ((Role.DECODE,),),
    Role.DECODE: ((Role.PREFILL,),),
    Role.ENCODE: ((Role.AGGREGATED,), (Role.PREFILL, Role.DECODE)),
}
"""What workers of a kind need beside them: any one of the alternatives, whole."""


@dataclass(frozen=True, slots=True)
class NamespaceReadiness:
    """One namespace's workers of a model."""

    counts: Mapping[Role, int]
    missing: tuple[Role, ...]

    @property
    def ready(self) -> bool:
        """Whether a request can be served here. An aggregated worker needs nobody."""
        return Role.AGGREGATED in self.counts or (bool(self.counts) and not self.missing)


def readiness(endpoints: Iterable[Endpoint], *, split: bool = True) -> Mapping[str, NamespaceReadiness]:
    """By namespace; ``split`` False: nothing is ever split, so decode workers serve alone."""
    found: dict[str, dict[Role, int]] = {}
    for endpoint in endpoints:
        counts = found.setdefault(endpoint.namespace, {})
        counts[endpoint.role] = counts.get(endpoint.role, 0) + 1
    return {name: NamespaceReadiness(counts, _missing(counts, split=split)) for name, counts in found.items()}


def report(model: str, namespaces: Mapping[str, NamespaceReadiness], *, lacking: str = "") -> dict[str, Any]:
    """The answer of ``/v1/models/{model}/ready``; ``lacking``: what this frontend itself is not ready with,
    in a few words."""
    staffed = any(namespace.ready for namespace in namespaces.values())
    page: dict[str, Any] = {"model": model, "ready": staffed and not lacking}
    if not page["ready"]:
        page["reason"] = lacking if staffed else reason(namespaces)
    page["namespaces"] = {name: _page(namespace) for name, namespace in namespaces.items()}
    return page


def reason(namespaces: Mapping[str, NamespaceReadiness]) -> str:
    """What is wrong, in a few words."""
    missing = sorted({role.value for namespace in namespaces.values() for role in namespace.missing})
    return f"missing worker types: {', '.join(missing)}" if missing else "no workers"


def not_ready(model: str, namespaces: Mapping[str, NamespaceReadiness]) -> ApiError:
    """The refusal of a request."""
    return unavailable(
        f"Model `{model[:256]}` is not ready to serve requests yet. ({reason(namespaces).capitalize()}.)"
    )


def _missing(counts: Mapping[Role, int], *, split: bool) -> tuple[Role, ...]:
    missing: set[Role] = set()
    for role in counts:
        ways = _NEEDS[role]
        if not ways or (role is Role.DECODE and not split):
            continue
        if not any(all(need in counts for need in way) for way in ways):
            missing |= {need for need in ways[0] if need not in counts}
    return tuple(sorted(missing))


def _page(namespace: NamespaceReadiness) -> dict[str, Any]:
    types = {
        role.value: {"workers": count, "needs": _needs(_NEEDS[role])}
        for role, count in sorted(namespace.counts.items())
    }
    return {
        "ready": namespace.ready,
        "worker_types": types,
        "present": sorted(role.value for role in namespace.counts),
        "missing_worker_types": [role.value for role in namespace.missing],
    }


def _needs(ways: Sequence[Sequence[Role]]) -> list[list[str]]:
    return [[role.value for role in way] for way in ways]
