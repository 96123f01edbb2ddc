"""What every body has in common, and the way from it to a core record."""

from typing import Any, Final

import msgspec

from epp.core.errors import BadRequestError
from epp.core.requests import Api, InferenceRequest, Prompt
from epp.wire.openai.bounds import I64, U32_MAX, OutputLimit
from epp.wire.openai.nvext import NvExtFields, OverrideFields, routing_part


class Body(msgspec.Struct, kw_only=True, gc=False):
    """Fields that mean the same in every API; the others are skipped while decoding."""

    model: str | None = None
    stream: bool | None = None
    priority: I64 | None = None
    cache_salt: str | None = None
    nvext: NvExtFields | None = None
    router_config_override: OverrideFields | None = None

    def max_output_tokens(self) -> OutputLimit:
        """The client's bound on generated tokens, if the API has one."""
        return None

    def needs_model(self) -> bool:
        """True: a body without ``model`` is refused, because nothing else says who should serve it."""
        return True


_RESERVED: Final = frozenset(
    {
        "messages",
        "tools",
        "documents",
        "add_generation_prompt",
        "continue_final_message",
        "chat_template",
        "tokenize",
    }
)
"""Template variables that have their own place in a request, which outranks ``chat_template_kwargs``."""


def record(api: Api, body: Body, prompt: Prompt | None, body_bytes: int) -> InferenceRequest:
    """The core record of a decoded body."""
    if not body.model and body.needs_model():
        raise BadRequestError("Field `model` is missing or empty.")
    limit = body.max_output_tokens()
    return InferenceRequest(
        api=api,
        model=body.model or "",
        prompt=prompt,
        stream=bool(body.stream),
        max_output_tokens=int(min(limit, U32_MAX)) if limit and limit >= 1 else None,
        cache_salt=body.cache_salt,
        priority=body.priority,
        nvext=routing_part(body.nvext, body.router_config_override),
        body_bytes=body_bytes,
    )


def template_kwargs(sent: dict[str, Any] | None, effort: str | None = None) -> dict[str, Any]:
    """Free template variables as vLLM merges them.

    ``null`` and ``"auto"`` mean unset; a reasoning effort also sets ``enable_thinking`` unless the client
    spoke of it, because some templates ask for that opt-in.
    """
    if not sent and effort is None:
        return {}
    sent = sent or {}
    merged = {k: v for k, v in sent.items() if k not in _RESERVED and v is not None and v != "auto"}
    if effort is not None:
        merged["reasoning_effort"] = effort
        if "enable_thinking" not in sent:
            merged["enable_thinking"] = effort != "none"
    return merged
