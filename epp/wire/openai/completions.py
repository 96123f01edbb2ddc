"""``/v1/completions`` and ``/tokenize``."""

import msgspec

from epp.core.errors import BadRequestError
from epp.core.requests import Prompt
from epp.wire.openai.bounds import OutputLimit, RequestLimits
from epp.wire.openai.chat import ChatOptions, Message, conversation
from epp.wire.openai.common import Body
from epp.wire.openai.forms import NULL, TextOrTokens, is_given, prompt_of


class CompletionBody(Body, kw_only=True):
    """``/v1/completions``."""

    prompt: TextOrTokens | None = None
    prompt_embeds: msgspec.Raw = NULL
    suffix: str | None = None
    max_tokens: OutputLimit = None
    add_special_tokens: bool | None = None

    def max_output_tokens(self) -> OutputLimit:
        """Per prompt of the batch."""
        return self.max_tokens


class TokenizeBody(ChatOptions, kw_only=True):
    """``/tokenize``: the engine's own tokenization of a prompt or a conversation."""

    prompt: str | None = None
    messages: list[Message] | None = None

    def needs_model(self) -> bool:
        """A vLLM server takes its only model then."""
        return False


def completion_prompt(body: CompletionBody, limits: RequestLimits) -> Prompt | None:
    """None with embeddings, which come first in the sequence, or a suffix, whose rendering is the model's."""
    if is_given(body.prompt_embeds):
        return None
    if not body.prompt:
        raise BadRequestError("Field `prompt` is missing or empty.")
    prompt = prompt_of(body.prompt, "prompt", limits, special=body.add_special_tokens)
    return None if body.suffix is not None else prompt


def tokenize_prompt(body: TokenizeBody, limits: RequestLimits) -> Prompt | None:
    """The prompt a later completion or chat request would have."""
    if body.messages is not None:
        return conversation(body, body.messages, limits)
    if body.prompt is None:
        raise BadRequestError("Field `prompt` or `messages` is missing.")
    return prompt_of(body.prompt, "prompt", limits, special=body.add_special_tokens)
