"""What a request asks, once its headers and its body are read together."""

import uuid
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from epp.core.headers import REQUEST_ID
from epp.core.intent import RoutingIntent
from epp.core.outcomes import PickInput
from epp.core.poolrules import PoolRules
from epp.core.requests import InferenceRequest, Prompt, TokenPrompt
from epp.picking.names import ModelName, ModelNames
from epp.wire.headers import merge, read_routing_headers
from epp.wire.openai import parse_request

MAX_STOOD_IN_CHARS: Final = 512
"""The client's name is put back wherever the answer has a name: into every event of a stream."""


class Asked(Struct, frozen=True):
    """One request, understood."""

    request: InferenceRequest
    intent: RoutingIntent
    name: ModelName
    request_id: str
    started_s: float
    """When the pick was asked, the whole body at hand; monotonic."""
    unreadable: tuple[tuple[str, str], ...]
    """(header, reason) of routing headers that were ignored."""
    client_model: str
    """The model as the client named it; empty: it named none."""

    @property
    def prompt(self) -> Prompt | None:
        """What is to be tokenized: the ids a client brought stand for its prompt. None: there is nothing."""
        given = self.request.nvext.token_data
        return self.request.prompt if given is None else TokenPrompt(given)

    @property
    def is_rewritten(self) -> bool:
        """Whether another model is to answer than the client named."""
        return bool(self.client_model) and self.client_model != self.intent.model

    @property
    def names_another(self) -> bool:
        """Whether the body, as it came here, names another model than is to answer."""
        return bool(self.request.model) and self.request.model != self.intent.model

    @property
    def restored_model(self) -> str | None:
        """The client's name of its model, where the answer will have another and may have this one."""
        return (
            self.client_model if self.names_another and len(self.client_model) <= MAX_STOOD_IN_CHARS else None
        )


def request_id_of(request: PickInput) -> str:
    """The id the gateway or the client gave, else a new one."""
    return request.request_id.strip() or request.headers.get(REQUEST_ID, "").strip() or str(uuid.uuid4())


def understand(
    request: PickInput,
    names: ModelNames,
    rules: PoolRules,
    *,
    request_id: str,
    trusted: bool,
    started_s: float,
    seed: int,
) -> Asked:
    """Read headers and body, then apply the pool's rules; ``trusted`` as in :func:`epp.wire.headers.merge`,
    ``seed`` draws among several models that one name stands for. Raises ClientError."""
    headers = read_routing_headers(request.headers)
    parsed = parse_request(request.path, request.body)
    intent = merge(parsed, headers, trusted=trusted)
    forced = headers.model_rewrite if trusted else None
    decided = request.client_model is not None  # whoever put the model there went by header and rules
    model = parsed.model if decided else target_model(intent.model, forced, rules, seed)
    intent = _ruled(intent, rules, model)
    return Asked(
        request=parsed,
        intent=intent,
        name=names.resolve(intent.model),
        request_id=request_id,
        started_s=started_s,
        unreadable=headers.unreadable,
        client_model=parsed.model if request.client_model is None else request.client_model,
    )


def target_model(model: str, forced: str | None, rules: PoolRules, seed: int) -> str:
    """Who answers a request for ``model``: the one a trusted header forces, else what the pool's rules draw
    by ``seed``, else itself. Nobody else stands in for a name beyond :data:`MAX_STOOD_IN_CHARS`."""
    if len(model) > MAX_STOOD_IN_CHARS:
        return model
    if forced is not None:
        return forced
    targets = rules.rewrites.targets(model) if model else None
    return model if targets is None else targets.draw(seed)


def _ruled(intent: RoutingIntent, rules: PoolRules, model: str) -> RoutingIntent:
    """The pool's rules on top of what was asked: an objective's priority is its owner's, whatever else the
    request says."""
    priority = rules.priority_of(intent.objective)
    if priority is None and model == intent.model:
        return intent
    return replace(intent, priority=intent.priority if priority is None else priority, model=model)
