"""The engines' own generate APIs: vLLM's ``/inference/v1/generate`` and SGLang's ``/generate``."""

from collections.abc import Sequence
from typing import Annotated, TypeAlias

import msgspec

from epp.core.requests import Prompt, TokenPrompt
from epp.wire.openai.bounds import OutputLimit, RequestLimits, TokenId
from epp.wire.openai.common import Body
from epp.wire.openai.forms import NULL, is_given, texts_prompt, tokens_prompt
from epp.wire.tokens import flat_tokens

_Tokens: TypeAlias = Annotated[list[TokenId], msgspec.Meta(min_length=1)]


class _VllmSampling(msgspec.Struct, gc=False):
    max_tokens: OutputLimit = None


class VllmGenerateBody(Body, kw_only=True):
    """vLLM's ``/inference/v1/generate``: tokens in, tokens out."""

    token_ids: _Tokens
    features: msgspec.Raw = NULL
    content_parts: list[msgspec.Raw] | None = None
    sampling_params: _VllmSampling | None = None

    def max_output_tokens(self) -> OutputLimit:
        """The engine's name of it."""
        return self.sampling_params.max_tokens if self.sampling_params else None

    def needs_model(self) -> bool:
        """A vLLM server takes its only model then."""
        return False


class _SglangSampling(msgspec.Struct, gc=False):
    max_new_tokens: OutputLimit = None


class SglangGenerateBody(Body, kw_only=True):
    """SGLang's ``/generate``; one server serves one model, so it names none."""

    text: str | list[str] | None = None
    input_ids: list[TokenId | list[TokenId]] | None = None
    sampling_params: _SglangSampling | list[_SglangSampling] | None = None

    def max_output_tokens(self) -> OutputLimit:
        """That of the first prompt."""
        first = self.sampling_params
        if isinstance(first, list):
            first = first[0] if first else None
        return first.max_new_tokens if first else None

    def needs_model(self) -> bool:
        """There is no such field."""
        return False


def vllm_generate_prompt(body: VllmGenerateBody, _limits: RequestLimits) -> Prompt | None:
    """None with media: their placeholder tokens alone would match another image's blocks."""
    has_media = is_given(body.features) or body.content_parts
    return None if has_media else TokenPrompt(flat_tokens(body.token_ids))


def sglang_generate_prompt(body: SglangGenerateBody, limits: RequestLimits) -> Prompt | None:
    """None with input embeddings alone; the engine says what else is missing."""
    if body.text:
        texts: Sequence[str] = [body.text] if isinstance(body.text, str) else body.text
        return texts_prompt(texts, "text", limits, special=True)
    return tokens_prompt(body.input_ids, "input_ids", limits) if body.input_ids else None
