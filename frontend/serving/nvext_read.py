"""``nvext`` out of a body: strict, and only when there is one."""

from typing import Final

import msgspec

from epp.core.errors import BadRequestError
from epp.wire.openai.decoding import decode
from epp.wire.openai.nvext import NvExtFields, OverrideFields, routing_part
from frontend.body import Body
from frontend.errors import bad_request
from frontend.nvext import NvExtRequest

EXTRA_FIELDS: Final = frozenset(
    {
        "completion_token_ids",
        "prompt_logprobs",
        "routed_experts",
        "stop_reason",
        "timing",
        "token_ids",
        "worker_id",
    }
)
"""What ``extra_fields`` may name; others are passed over, as they are by Dynamo."""
_ABSENT: Final = NvExtRequest()
_REFUSED: Final = "Failed to deserialize the JSON body into the target type"


class _Fields(msgspec.Struct, gc=False):
    nvext: NvExtFields | None = None
    router_config_override: OverrideFields | None = None


_FIELDS: Final = msgspec.json.Decoder(_Fields)


def read_nvext(body: Body) -> NvExtRequest:
    """What a body's ``nvext`` asks. Raises ApiError (400) for an unknown key or a wrong type."""
    if "nvext" not in body and "router_config_override" not in body:
        return _ABSENT
    text = b'{"nvext":%b,"router_config_override":%b}' % (
        body.raw("nvext") or b"null",
        body.raw("router_config_override") or b"null",
    )
    try:
        sent = decode(_FIELDS, text)
        routing = routing_part(sent.nvext, sent.router_config_override)
    except BadRequestError as error:
        raise bad_request(f"{_REFUSED}: {error.message}") from error
    fields = sent.nvext
    if fields is None:
        return NvExtRequest(routing=routing)
    return NvExtRequest(
        routing=routing,
        extra_fields=EXTRA_FIELDS.intersection(fields.extra_fields or ()),
        present=True,
        greedy=bool(fields.greed_sampling),
        max_thinking_tokens=fields.max_thinking_tokens,
    )
