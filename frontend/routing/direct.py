"""Direct-to-known: the request says who serves it. Nothing is compared, tokenized or booked."""

from collections.abc import Callable
from typing import Final

from epp.core.endpoints import PoolSnapshot, Role
from epp.core.outcomes import Ending, ResponseFacts
from frontend.config.model import DisaggConfig
from frontend.errors import bad_request
from frontend.http.api import Failure
from frontend.pipeline.call import Call, Route
from frontend.pipeline.components import Components
from frontend.pipeline.lost import WorkerLostError
from frontend.routing.known import PREFILLER_ADDRESS, NamedLegs, listed, named_legs, prefilling, serving
from frontend.routing.pins import PREFILL, WORKER
from frontend.routing.pool import PoolWatch, check_taints, incomplete, splittable

ROUTING_MODE: Final = "x-dynamo-routing-mode"
"""``aggregated`` from whoever chose: a decode worker was meant to serve alone."""
BYPASS: Final = "x-bypass-remote-prefill"
"""Annotation of a client that wants the same."""
_HOW: Final = (
    f"header `{WORKER[0]}`, `nvext.decode_worker_id`, `nvext.backend_instance_id` or "
    "`routing.decode_worker_id`"
)
_HOW_PREFILL: Final = (
    f"header `{PREFILL[0]}` or `{PREFILLER_ADDRESS}`, `nvext.prefill_worker_id` or "
    "`routing.prefill_worker_id`"
)
_REASON: Final = "named by the request"


class DirectRouter:
    """Reads ids and checks them; see :mod:`frontend.routing.pins` for where they may stand."""

    name = "direct"

    def __init__(self, components: Components, disagg: DisaggConfig) -> None:
        self._snapshot: Callable[[], PoolSnapshot] = components.snapshot
        self._usable = components.health.usable
        self._watch = PoolWatch()
        self._disagg = disagg

    async def route(self, call: Call) -> Route:
        """See Router; an error is the request's (400), or says that the pool lacks a role or the worker
        is left alone after failures (503)."""
        snapshot = self._snapshot()
        missing = self._watch.missing(snapshot)
        halved = missing.roles == (Role.PREFILL,)
        alone = not splittable(call.api) or serves_alone(call) or not self._needs_prefill(halved=halved)
        if missing.roles and not (alone and halved):
            raise incomplete(call.model, missing)
        named = named_legs(call, snapshot, addresses=True)
        if named.worker is None:
            raise _nobody(named, snapshot)
        if call.nvext.routing.required_taints:
            check_taints(call.nvext.routing.required_taints, (named.worker.endpoint,))
        if named.prefill is None and (not alone or named.prefill_where):
            _check_lone(named, snapshot)
        worker_id = named.worker.endpoint.worker_id
        if not self._usable(worker_id):
            raise WorkerLostError(Failure.CONNECT, worker_id)
        return Route(named.worker, named.prefill, _REASON)

    def _needs_prefill(self, *, halved: bool) -> bool:
        """Whether a decode worker needs another beside it; ``halved``: there is none."""
        return self._disagg.enabled and not (halved and self._disagg.decode_fallback)

    def finish(self, route: Route, ending: Ending, facts: ResponseFacts) -> None:
        """Nothing was booked."""


def serves_alone(call: Call) -> bool:
    """Whether a decode worker without a prefill worker was meant."""
    return call.headers.get(ROUTING_MODE) == "aggregated" or BYPASS in call.nvext.routing.annotations


def _nobody(named: NamedLegs, snapshot: PoolSnapshot) -> Exception:
    known = f"known are {listed(serving(snapshot))}"
    if named.prefill_where:
        return bad_request(
            f"{named.prefill_where} names a prefill worker, but no decode worker is named: use {_HOW}; "
            f"{known}."
        )
    return bad_request(f"The request has to name its worker: use {_HOW}; {known}.")


def _check_lone(named: NamedLegs, snapshot: PoolSnapshot) -> None:
    """A worker without a prefill worker beside it."""
    assert named.worker is not None, "asked only when there is one"
    endpoint, known = named.worker.endpoint, f"known are {listed(prefilling(snapshot))}"
    if named.prefill_where:
        raise bad_request(
            f"{named.prefill_where} is a prefill rank, but no prefill worker is named: use {_HOW_PREFILL}; "
            f"{known}."
        )
    if endpoint.role is Role.DECODE:
        raise bad_request(
            f"Worker {endpoint.worker_id} only decodes, so a prefill worker has to be named too: use "
            f"{_HOW_PREFILL}; {known}."
        )
