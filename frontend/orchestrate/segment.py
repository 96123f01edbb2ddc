"""The segment between route and forward: prefill on one worker, decode on another.

Without ``call.route.prefill`` it passes on. With it, vLLM and TensorRT-LLM prefill first and decode then;
SGLang's legs run at once (:class:`~frontend.orchestrate.together.Together`). A prefill that fails before
anything was decoded leaves the decode worker to compute the prompt itself, or fails the request, as
configured; SGLang's decode workers cannot, so there it always fails.
"""

from types import MappingProxyType
from typing import Final

from epp.core.endpoints import EngineKind, Role
from frontend.body import Body
from frontend.config.model import DisaggConfig
from frontend.errors import ApiError
from frontend.http.api import Reply, whole
from frontend.orchestrate import leg, rules, sglang, terminal
from frontend.orchestrate.contract import Contract, Next, Terminal
from frontend.orchestrate.counters import NoCounters, OrchestratorCounters
from frontend.orchestrate.failures import PrefillError, PrefillLostError, Reason
from frontend.orchestrate.together import Together
from frontend.orchestrate.trtllm import TrtllmContract
from frontend.orchestrate.vllm import VllmContract
from frontend.pipeline.call import Call, Leg, Route, Segment
from frontend.pipeline.components import Components

_CONTRACTS: Final = MappingProxyType[EngineKind, Contract](
    {EngineKind.VLLM: VllmContract(), EngineKind.TRTLLM: TrtllmContract()}
)


class Orchestrator:
    """Drives the legs of a request. ``close`` ends what it still drains."""

    name = "orchestrate"

    def __init__(
        self,
        next_: Segment,
        config: DisaggConfig,
        components: Components,
        counters: OrchestratorCounters | None = None,
    ) -> None:
        self.next = next_
        self._config = config
        self._components = components
        self._counters = counters or NoCounters()
        self._together = Together(self._run)

    @property
    def draining(self) -> int:
        """SGLang prefill legs in progress, also of requests that were answered; each has a deadline."""
        return len(self._together)

    async def close(self) -> None:
        """Stop prefill legs whose requests have been answered."""
        await self._together.close()

    async def handle(self, call: Call, reply: Reply) -> None:
        """See :class:`~frontend.pipeline.call.Segment`."""
        route = call.route
        if route is None or not self._config.enabled:
            await self.next.handle(call, reply)
            return
        if route.prefill is None:
            if self._config.enforce:
                rules.check_whole(self._config, route, self._components.snapshot())
            await self.next.handle(call, reply)
            return
        rules.check_pair(route, route.prefill)
        try:
            await self._split(call, reply, route, route.prefill)
        except PrefillError as error:
            _tell(reply, error, route, route.prefill)

    # --- the decision ----------------------------------------------------------------------------------

    async def _split(self, call: Call, reply: Reply, route: Route, prefill: Leg) -> None:
        engine = route.worker.endpoint.engine
        contract = _CONTRACTS.get(engine)
        if contract is not None:
            await self._one_by_one(contract, call, reply, route, prefill)
        elif engine is not EngineKind.SGLANG:
            await self._fall_back(call, reply, Reason.ENGINE)
        elif route.worker.endpoint.role is not Role.DECODE:
            await self._fall_back(call, reply, Reason.ROLE)
        elif not sglang.speaks(call.api):
            await self._fall_back(call, reply, Reason.API)
        else:
            await self._at_once(call, reply, route.worker, prefill)

    async def _fall_back(self, call: Call, reply: Reply, reason: Reason) -> None:
        """The decode worker does it all."""
        call.facts.fallback = reason
        self._counters.fallback(reason)
        await self.next.handle(call, reply)

    # --- vLLM, TensorRT-LLM ----------------------------------------------------------------------------

    async def _one_by_one(
        self, contract: Contract, call: Call, reply: Reply, route: Route, prefill: Leg
    ) -> None:
        if (reason := rules.below(self._config, route)) is not None:
            self._counters.bypassed(reason)
            await self.next.handle(call, reply)
            return
        if (reason := contract.refuses(call.api, call.body)) is not None:
            await self._fall_back(call, reply, reason)
            return
        try:
            step = await self._prefill(contract, call, prefill)
        except PrefillError as error:
            if self._config.enforce or self._config.prefill_failure == "fail":
                raise
            await self._fall_back(call, reply, error.reason)
            return
        if isinstance(step, Terminal):
            self._counters.terminal()
            terminal.answer(call, reply, step.answer)
        else:
            await self._decode(call, reply, step.body)

    async def _prefill(self, contract: Contract, call: Call, prefill: Leg) -> Next:
        answer = await self._run(call, prefill, contract.prefill(call.api, call.body))
        try:
            return contract.hand_over(call.api, call.body, answer)
        except PrefillError as error:
            self._counters.prefill_failed(error.reason)
            raise

    # --- SGLang ----------------------------------------------------------------------------------------

    async def _at_once(self, call: Call, reply: Reply, worker: Leg, prefill: Leg) -> None:
        pair = sglang.bodies(call.body, prefill, worker, sglang.draw_room())
        await self._together.serve(
            call, reply, prefill, pair.prefill, lambda watched: self._decode(call, watched, pair.decode)
        )

    # --- the legs --------------------------------------------------------------------------------------

    async def _run(self, call: Call, prefill: Leg, body: Body) -> bytes:
        """The prefill worker's answer. Raises PrefillError, counted."""
        parts, worker_id = self._components, prefill.endpoint.worker_id
        began_s = parts.clock()
        if call.facts.dispatched_s is None:
            call.facts.dispatched_s = began_s
        parts.health.sent(worker_id)
        try:
            answer = await leg.run(parts.upstream, call, prefill, body, self._config.prefill_timeout_s)
        except PrefillError as error:
            if error.workers_fault:
                parts.health.failed(worker_id)
            else:
                parts.health.succeeded(worker_id)
            self._counters.prefill_failed(error.reason)
            raise
        parts.health.succeeded(worker_id)
        call.facts.prefill_s = parts.clock() - began_s
        self._counters.prefill_done(call.facts.prefill_s)
        return answer

    async def _decode(self, call: Call, reply: Reply, body: Body) -> None:
        """``body`` to the decode worker; then ``call`` holds the client's again, for whoever retries."""
        asked, call.body = call.body, body
        try:
            await self.next.handle(call, reply)
        finally:
            call.body = asked


def _tell(reply: Reply, error: PrefillError, route: Route, prefill: Leg) -> None:
    """A prefill that failed for good, told to whoever may know another worker, and to the client."""
    if error.failure is not None:
        raise PrefillLostError(error.failure, prefill.endpoint.worker_id, str(error)) from error
    if error.body and not reply.started:
        whole(reply, error.status, error.headers + route.response_headers, error.body)
        return
    raise ApiError(error.status, str(error), cause=f"prefill-{error.reason}") from error
