"""What a request means to routing, whatever API it came through.

``epp.wire`` turns bytes into these records; tokenization and scheduling read nothing else. Fields that
routing does not need are not represented: the body itself is forwarded as it came.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, Final, TypeAlias

from msgspec import Struct, field

JsonObject: TypeAlias = Mapping[str, Any]


class Api(StrEnum):
    """The API a path belongs to."""

    CHAT = "chat"
    COMPLETIONS = "completions"
    EMBEDDINGS = "embeddings"
    RESPONSES = "responses"
    MESSAGES = "messages"
    COUNT_TOKENS = "count-tokens"
    TOKENIZE = "tokenize"
    VLLM_GENERATE = "vllm-generate"
    SGLANG_GENERATE = "sglang-generate"
    OTHER = "other"
    """A path this picker does not know: routed by load, the body is not parsed."""


class ChatPrompt(Struct, frozen=True):
    """A conversation to be rendered by the model's chat template."""

    messages: Sequence[JsonObject]
    """As the engine hands them to the template, but for ``content``, whose final form depends on the
    template: a string (one text part), or a list of parts: ``{"type": "text", "text": …}``, or a bare marker
    like ``{"type": "image_url"}`` for what is no text. ``[]``: no content."""
    tools: Sequence[JsonObject] | None = None
    documents: Sequence[JsonObject] | None = None
    add_generation_prompt: bool = True
    continue_final_message: bool = False
    template_kwargs: JsonObject = field(default_factory=dict[str, Any])
    """``chat_template_kwargs`` of the request."""
    template: str | None = None
    """A named template of the model, or None for the default choice. Never template source text."""
    add_special_tokens: bool = False
    multimodal: bool = False
    """True: the messages hold non-text parts; text after the first of them cannot be matched."""
    joins_system: bool = False
    """True (Messages API): if the template refuses a system message beyond the first, the engine joins all
    of them, in order and without a separator, into one leading system message."""


class TextPrompt(Struct, frozen=True):
    """Text completed as it stands. Only the first of several prompts decides the route."""

    texts: tuple[str, ...]
    add_special_tokens: bool = True


class TokenPrompt(Struct, frozen=True):
    """Token ids given by the client."""

    tokens: bytes
    """Flat little-endian u32."""


Prompt: TypeAlias = ChatPrompt | TextPrompt | TokenPrompt


class AgentHints(Struct, frozen=True):
    """``nvext.agent_hints``: what an agent knows of its own request."""

    priority: int | None = None
    strict_priority: int | None = None
    expected_output_tokens: int | None = None


class RouterOverrides(Struct, frozen=True):
    """Per-request changes to the cost parameters (``router_config_override``); None: not changed."""

    overlap_credit: float | None = None
    prefill_load_scale: float | None = None
    temperature: float | None = None
    assume_kv_reuse: bool | None = None
    track_prefill_tokens: bool | None = None


UNCHANGED: Final = RouterOverrides()
"""The overrides of a request that asks for none."""


class NvExt(Struct, frozen=True):
    """The routing part of ``nvext`` (field meanings: Dynamo's request extension)."""

    token_data: bytes | None = None
    """Flat little-endian u32 token ids; present: tokenization is skipped."""
    backend_instance_id: int | None = None
    prefill_worker_id: int | None = None
    decode_worker_id: int | None = None
    dp_rank: int | None = None
    prefill_dp_rank: int | None = None
    cache_salt: str | None = None
    annotations: tuple[str, ...] = ()
    agent_hints: AgentHints = AgentHints()
    required_taints: frozenset[str] = frozenset()
    preferred_taints: tuple[tuple[str, float], ...] = ()
    overrides: RouterOverrides = UNCHANGED
    use_raw_prompt: bool = False
    ttft_target_ms: float | None = None
    """Time to first token the client hopes for."""
    itl_target_ms: float | None = None
    """Time between output tokens the client hopes for."""


NO_EXTENSION: Final = NvExt()
"""The ``nvext`` of a request that has none."""


class InferenceRequest(Struct, frozen=True):
    """Everything of a request body that can change where it goes."""

    api: Api
    model: str
    """As the client named it; may be a LoRA adapter."""
    prompt: Prompt | None
    """None: nothing to match (unknown path, or content this picker does not understand)."""
    stream: bool = False
    max_output_tokens: int | None = None
    cache_salt: str | None = None
    """Top-level ``cache_salt``; ``nvext.cache_salt`` and the tenant header take precedence over it."""
    priority: int | None = None
    nvext: NvExt = NO_EXTENSION
    body_bytes: int = 0
    """Size of the body it was read from."""
