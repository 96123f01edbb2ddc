"""The pods of a selector as endpoints, kept in step with a watch."""

from collections.abc import Sequence
from typing import Final

import msgspec

from epp.core.endpoints import Endpoint
from epp.wire.kubernetes.api import ApiFormatError, EventKind, name_in
from epp.wire.kubernetes.pods import Pod, Workers, read_pod, workers_of

MAX_PODS: Final = 20_000
"""Pods that are kept; more are left out, and said."""
_MAX_WRONG: Final = 100
_TOO_MANY: Final = "#"


class PodStore:
    """The pods by name. A pod that cannot be read is left out and remembered as a problem."""

    def __init__(self, target_ports: tuple[int, ...], kv_events_port: int | None = None) -> None:
        self._target_ports = target_ports
        self._kv_events_port = kv_events_port
        self._pods: dict[str, tuple[Pod, Workers]] = {}
        self._wrong: dict[str, str] = {}
        """By the pod's name; empty: it has none."""

    @property
    def pods(self) -> int:
        """How many pods there are, Ready or not."""
        return len(self._pods)

    @property
    def problem(self) -> str | None:
        """One sentence on what cannot be used of the pods; None: all can."""
        problems = [
            *self._wrong.values(),
            *(p for _, workers in self._pods.values() for p in workers.problems),
        ]
        if not problems:
            return None
        return problems[0] if len(problems) == 1 else f"{problems[0]} (and {len(problems) - 1} more)"

    def add(self, objects: Sequence[msgspec.Raw]) -> None:
        """Further pods of a list."""
        for data in objects:
            self.apply(EventKind.ADDED, data)

    def apply(self, kind: EventKind, data: msgspec.Raw) -> None:
        """One pod is new, changed or gone."""
        try:
            name = name_in(data)
        except ApiFormatError as error:
            self._wrong[""] = f"a pod that cannot be read: {error}"
            return
        self._wrong.pop(name, None)
        if kind is EventKind.DELETED:
            self._pods.pop(name, None)
            self._wrong.pop(_TOO_MANY, None)
            return
        try:
            self._keep(read_pod(data))
        except ApiFormatError as error:
            self._pods.pop(name, None)
            self._wrong[name if len(self._wrong) < _MAX_WRONG else ""] = f"{name} cannot be read: {error}"

    def _keep(self, pod: Pod) -> None:
        if pod.name in self._pods or len(self._pods) < MAX_PODS:
            self._pods[pod.name] = (pod, self._workers(pod))
        else:
            self._wrong[_TOO_MANY] = f"more than {MAX_PODS} pods; those beyond are left out"

    def use_ports(self, target_ports: tuple[int, ...]) -> None:
        """The pods serve on these ports from now on."""
        self._target_ports = target_ports
        self._pods = {name: (pod, self._workers(pod)) for name, (pod, _) in self._pods.items()}

    def endpoints(self) -> tuple[Endpoint, ...]:
        """The endpoints of the pods that serve, in no order; two may have one address."""
        return tuple(endpoint for _, workers in self._pods.values() for endpoint in workers.endpoints)

    def distinct_endpoints(self) -> tuple[Endpoint, ...]:
        """The same with one endpoint for each address: that of the youngest pod. An address that was given to
        a new pod can still be written at an old one whose node is lost."""
        by_place: dict[tuple[str, int], Endpoint] = {}
        by_worker: dict[int, Endpoint] = {}
        for _, workers in sorted(self._pods.values(), key=lambda entry: entry[0].created, reverse=True):
            for endpoint in workers.endpoints:
                place = (endpoint.address, endpoint.port)
                if place not in by_place and endpoint.worker_id not in by_worker:
                    by_place[place] = by_worker[endpoint.worker_id] = endpoint
        return tuple(by_worker.values())

    def _workers(self, pod: Pod) -> Workers:
        return workers_of(pod, self._target_ports, self._kv_events_port)
