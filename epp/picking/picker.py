"""One request, from what a door received to where it goes.

The order of the story: who may serve it → what it asks → its tokens → the choice, booked → the answer.
Everything expected to go wrong is a :class:`Refused`; tokens that cannot be had degrade the choice and
say so. After the booking there is no await, so a client that leaves can never leave a booking behind.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from epp.config.model import Config
from epp.core.endpoints import WorkerRank
from epp.core.errors import ClientError
from epp.core.headers import MODEL_REWRITE, REQUEST_ID, settable
from epp.core.outcomes import (
    DropReason,
    Ending,
    HeaderPairs,
    Picked,
    PickInput,
    PickOutcome,
    Refused,
    ResponseFacts,
)
from epp.core.poolrules import PoolRules
from epp.core.requests import UNCHANGED, RouterOverrides
from epp.core.router import CapacityError, CostParams, NoChoice
from epp.core.subset import eligible
from epp.core.tokens import Exactness, Tokenized, Tokenizer
from epp.picking.active import ActiveRequests
from epp.picking.answer import destinations, overloaded, refusal, request_headers
from epp.picking.asking import Asked, request_id_of, understand
from epp.picking.choice import Choice, Chooser, Question
from epp.picking.explaining import reason_line, summary
from epp.picking.fleet import Fleet
from epp.picking.names import ModelName, ModelNames
from epp.picking.recording import Recorder, Recording, Unrecorded
from epp.picking.rewriting import rewritten

_NO_TOKENS = Tokenized(b"", Exactness.NONE, 0)
"""Tokens of a request that has no prompt: nothing is missing, so nothing is degraded."""
_UNRECORDED = Unrecorded()
_UNREADABLE = ("accept-encoding",)
"""Header that workers do not see of a rewritten request: no name can be put into a compressed answer."""


@dataclass(frozen=True, slots=True)
class PickerParts:
    """What the picker works with; made by the composition root."""

    fleet: Fleet
    chooser: Chooser
    tokenizer: Tokenizer
    active: ActiveRequests
    names: ModelNames
    recorder: Recorder
    on_sent: Callable[[WorkerRank, float], None]
    """Told where a prompt goes that the worker's event stream should show."""
    clock: Callable[[], float]
    """Monotonic seconds."""
    rules: PoolRules = field(default_factory=PoolRules)
    """What the pool's owners say of its requests; empty: nothing."""


class Chosen(Struct, frozen=True):
    """A pick in full."""

    picked: Picked
    choice: Choice
    tokens: Tokenized


class RequestPicker:
    """Answers the doors (satisfies the ext_proc door's ``PickEngine``)."""

    def __init__(self, config: Config, parts: PickerParts) -> None:
        self._config = config
        self._parts = parts
        self._params = CostParams(**{name: getattr(config.routing.cost, name) for name in _COST_FIELDS})
        self._bookings = random.getrandbits(48) << 15
        self._seeds = random.Random()

    # --- the door's side ------------------------------------------------------------------------------

    async def pick(self, request: PickInput) -> PickOutcome:
        """Choose for one request; books unless it has no body."""
        chosen = await self.choose(request, book=request.body is not None)
        return chosen if isinstance(chosen, Refused) else chosen.picked

    async def choose(self, request: PickInput, *, book: bool, record: bool = True) -> Chosen | Refused:
        """Choose, with the tokens and the numbers a caller in the same process can use; books if asked to.
        ``record`` False: a question, not a request: counters, logs and recent decisions do not hear of it."""
        recorder = self._parts.recorder if record else _UNRECORDED
        request_id = request_id_of(request)
        try:
            asked = self._understand(request, request_id)
        except ClientError as error:
            return recorder.unreadable(request_id, _bad_request(error))
        recorder.understood(asked)
        candidates = self._candidates(request, asked.name)
        if candidates == ():
            return recorder.refused(asked, self._refusal(NoChoice.NO_CANDIDATES))
        tokens = await self._tokens(asked)
        question = self._question(request, asked, tokens, candidates, book=book)
        return self._decide(request, asked, question, recorder)

    def finish(self, picked: Picked, ending: Ending, facts: ResponseFacts) -> None:
        """The stream of a pick ended."""
        if picked.booking is not None:
            self._parts.active.finish(picked.booking, ending, facts, self._parts.clock())

    # --- the inspector's side -------------------------------------------------------------------------

    async def explain(self, request: PickInput) -> dict[str, Any]:
        """What would be chosen now, with every candidate's terms; books nothing, counts nothing."""
        try:
            asked = self._understand(request, request_id_of(request))
        except ClientError as error:
            return _refused_page(_bad_request(error))
        tokens = await self._tokens(asked)
        candidates = self._candidates(request, asked.name)
        question = self._question(request, asked, tokens, candidates, book=False)
        answer = self._parts.chooser.choose(replace(question, explain=True))
        if isinstance(answer, NoChoice):
            return _refused_page(self._refusal(answer))
        return {
            "status": 200,
            "model": asked.client_model,
            "policy": answer.policy,
            "reason": reason_line(answer, tokens),
            **summary(answer, tokens, self._parts.fleet.snapshot),
        }

    # --- steps ----------------------------------------------------------------------------------------

    def _understand(self, request: PickInput, request_id: str) -> Asked:
        return understand(
            request,
            self._parts.names,
            self._parts.rules,
            request_id=request_id,
            trusted=self._config.server.trust_client_headers,
            started_s=self._parts.clock(),
            seed=self._seeds.getrandbits(64),
        )

    def _candidates(self, request: PickInput, name: ModelName) -> tuple[int, ...] | None:
        """Worker ids that may serve; None: all."""
        snapshot = self._parts.fleet.snapshot
        serving = self._parts.names.serving(name.base, snapshot.endpoints)
        if request.subset is None:
            return None if serving is None else tuple(e.worker_id for e in serving)
        allowed = tuple(e.worker_id for e in eligible(snapshot, request.subset))
        if serving is None:
            return allowed
        ids = {e.worker_id for e in serving}
        return tuple(worker_id for worker_id in allowed if worker_id in ids)

    async def _tokens(self, asked: Asked) -> Tokenized:
        if asked.prompt is None:
            return _NO_TOKENS
        return await self._parts.tokenizer.tokenize(asked.name.base, asked.prompt)

    def _question(
        self,
        request: PickInput,
        asked: Asked,
        tokens: Tokenized,
        candidates: tuple[int, ...] | None,
        *,
        book: bool,
    ) -> Question:
        intent = asked.intent
        return Question(
            model=intent.model,
            lora=asked.name.lora,
            salt=intent.salt,
            tokens=tokens,
            candidates=candidates,
            booking=self._next_booking() if book else None,
            now_s=self._parts.clock(),
            seed=self._seeds.getrandbits(64),
            pin=intent.pin,
            prefill_pin=intent.prefill_pin,
            required_taints=intent.required_taints,
            preferred_taints=intent.preferred_taints,
            params=_overridden(self._params, intent.overrides),
            expected_output_tokens=intent.expected_output_tokens,
            session=intent.session_id or "",
            headers=request.headers,
            explain=self._config.telemetry.keep_candidates,
            split=not intent.bypass_prefill,
        )

    def _decide(
        self, request: PickInput, asked: Asked, question: Question, recorder: Recording
    ) -> Chosen | Refused:
        """Choose, book and answer; nothing here awaits."""
        try:
            choice = self._parts.chooser.choose(question)
        except CapacityError as error:
            return recorder.refused(asked, overloaded(str(error), self._config.server.retry_after_s))
        chosen_s = self._parts.clock()
        if isinstance(choice, NoChoice):
            return recorder.refused(asked, self._refusal(choice))
        snapshot = self._parts.fleet.snapshot
        reason = recorder.picked(asked, question, choice, snapshot)
        picked = Picked(
            destinations=destinations(choice, snapshot),
            request_id=asked.request_id,
            set_headers=self._headers(request, asked, choice, question.tokens),
            remove_headers=_UNREADABLE if asked.names_another else (),
            body=rewritten(request.body, asked, question.tokens, self._config.routing),
            booking=question.booking,
            reason=reason,
            response_headers=(*choice.response_headers, *_told_model(asked)),
            client_model=asked.restored_model,
        )
        if choice.stores_blocks and question.booking is not None:
            self._parts.on_sent(choice.prefiller, chosen_s)
        recorder.timed(asked, scheduling_s=chosen_s - question.now_s, now_s=self._parts.clock())
        return Chosen(picked, choice, question.tokens)

    def _refusal(self, why: NoChoice) -> Refused:
        return refusal(why, self._config.server.retry_after_s)

    def _headers(self, request: PickInput, asked: Asked, choice: Choice, tokens: Tokenized) -> HeaderPairs:
        pairs = request_headers(choice, tokens, self._parts.fleet.snapshot, self._config.routing)
        if request.headers.get(REQUEST_ID) != asked.request_id:
            pairs = (*pairs, (REQUEST_ID, asked.request_id))
        return pairs

    def _next_booking(self) -> int:
        self._bookings += 1
        return self._bookings


def _told_model(asked: Asked) -> HeaderPairs:
    """For the client: the model that answers, where another one does than was asked for, if a header can
    hold its name."""
    model = asked.intent.model
    return settable(((MODEL_REWRITE, model),)) if asked.is_rewritten and model.isascii() else ()


_COST_FIELDS = tuple(CostParams.__struct_fields__)


def _overridden(params: CostParams, overrides: RouterOverrides) -> CostParams:
    if overrides is UNCHANGED:
        return params
    changed = {name: value for name in _OVERRIDABLE if (value := getattr(overrides, name)) is not None}
    return replace(params, **changed) if changed else params


_OVERRIDABLE = tuple(RouterOverrides.__struct_fields__)


def _bad_request(error: ClientError) -> Refused:
    return Refused(error.status, error.message, DropReason.BAD_REQUEST)


def _refused_page(refused: Refused) -> dict[str, Any]:
    return {"status": refused.status, "error": refused.message, "reason": refused.reason.value}
