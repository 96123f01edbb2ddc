"""``/v1/embeddings``: texts, token ids, or (vLLM's extension) conversations."""

from collections.abc import Sequence
from typing import Any, TypeAlias, cast

from epp.core.errors import BadRequestError
from epp.core.requests import Prompt
from epp.wire.openai.bounds import RequestLimits, TokenId
from epp.wire.openai.chat import ChatOptions, Message, conversation
from epp.wire.openai.decoding import convert
from epp.wire.openai.forms import TextOrTokens, prompt_of

_EmbeddingItem: TypeAlias = str | TokenId | list[TokenId | dict[str, Any]] | dict[str, Any]


class EmbeddingBody(ChatOptions, kw_only=True):
    """``input``, or a conversation in ``messages`` or ``input``."""

    input: str | list[_EmbeddingItem] | None = None
    messages: list[Message] | None = None


def embedding_prompt(body: EmbeddingBody, limits: RequestLimits) -> Prompt | None:
    """Conversations to embed end without a generation prompt."""
    if body.messages is not None:
        return conversation(body, body.messages, limits, answers=False)
    if not body.input:
        raise BadRequestError("Field `input` is missing or empty.")
    sent = body.input
    if not isinstance(sent, str) and _holds_objects(sent):
        return _conversation_in_input(body, sent, limits)
    texts = cast("TextOrTokens", sent)
    return prompt_of(texts, "input", limits, special=body.add_special_tokens)


def _holds_objects(sent: Sequence[_EmbeddingItem]) -> bool:
    first = sent[0]
    if isinstance(first, list):
        return bool(first) and isinstance(first[0], dict)
    return isinstance(first, dict)


def _conversation_in_input(
    body: EmbeddingBody, sent: Sequence[object], limits: RequestLimits
) -> Prompt | None:
    """Messages in ``input`` are one conversation; a batch of them, or other objects, is not followed."""
    if not all(isinstance(item, dict) and "role" in item for item in sent):
        return None
    return conversation(body, convert(sent, list[Message], "input"), limits, answers=False)
