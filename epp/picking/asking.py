"""What a request asks, once its headers and its body are read together."""

import uuid
from dataclasses import dataclass

from epp.core.headers import REQUEST_ID
from epp.core.intent import RoutingIntent
from epp.core.outcomes import PickInput
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


def request_id_of(request: PickInput) -> str:
    """The id the gateway or the client gave, else a new one."""
    return request.request_id.strip() or request.headers.get(REQUEST_ID, "").strip() or str(uuid.uuid4())


def understand(
    request: PickInput, names: ModelNames, *, request_id: str, trusted: bool, started_s: float
) -> Asked:
    """Read headers and body; ``trusted`` as in :func:`epp.wire.headers.merge`. Raises ClientError."""
    headers = read_routing_headers(request.headers)
    parsed = parse_request(request.path, request.body)
    intent = merge(parsed, headers, trusted=trusted)
    return Asked(parsed, intent, names.resolve(intent.model), request_id, started_s, headers.unreadable)
