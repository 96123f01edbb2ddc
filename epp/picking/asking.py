"""What a request asks, once its headers and its body are read together."""

import uuid
from dataclasses import dataclass, replace

from epp.core.headers import REQUEST_ID
from epp.core.intent import RoutingIntent
from epp.core.outcomes import PickInput
from epp.core.poolrules import PoolRules
from epp.core.requests import InferenceRequest, Prompt, TokenPrompt
from epp.picking.names import ModelName, ModelNames
from epp.wire.headers import merge, read_routing_headers
from epp.wire.openai import parse_request


@dataclass(frozen=True, slots=True)
class Asked:
    """One request, understood."""

    request: InferenceRequest
    intent: RoutingIntent
    name: ModelName
    request_id: str
    started_s: float
    """When the pick was asked, the whole body at hand; monotonic."""
    unreadable: tuple[tuple[str, str], ...]
    """(header, reason) of routing headers that were ignored."""

    @property
    def prompt(self) -> Prompt | None:
        """What is to be tokenized: the ids a client brought stand for its prompt. None: there is nothing."""
        given = self.request.nvext.token_data
        return self.request.prompt if given is None else TokenPrompt(given)

    @property
    def is_rewritten(self) -> bool:
        """Whether the body names another model than is to answer."""
        return bool(self.request.model) and self.request.model != self.intent.model


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
    forced = trusted and headers.model_rewrite is not None
    intent = _ruled(merge(parsed, headers, trusted=trusted), rules, seed, forced=forced)
    return Asked(parsed, intent, names.resolve(intent.model), request_id, started_s, headers.unreadable)


def _ruled(intent: RoutingIntent, rules: PoolRules, seed: int, *, forced: bool) -> RoutingIntent:
    """The pool's rules on top of what was asked: an objective's priority is its owner's, whatever else the
    request says; a model that a header forces (``forced``) stays."""
    priority = rules.priority_of(intent.objective)
    targets = None if forced or not intent.model else rules.rewrites.targets(intent.model)
    if priority is None and targets is None:
        return intent
    return replace(
        intent,
        priority=intent.priority if priority is None else priority,
        model=intent.model if targets is None else targets.draw(seed),
    )
