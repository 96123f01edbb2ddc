"""The one entrance: a path and a body in, a core record out."""

from collections.abc import Callable
from typing import Any, Final, NamedTuple

import msgspec

from epp.core.errors import BadRequestError
from epp.core.requests import Api, InferenceRequest, Prompt
from epp.wire.openai.bounds import DEFAULT_LIMITS, RequestLimits
from epp.wire.openai.chat import ChatBody, chat_prompt
from epp.wire.openai.common import record
from epp.wire.openai.completions import CompletionBody, TokenizeBody, completion_prompt, tokenize_prompt
from epp.wire.openai.decoding import decode
from epp.wire.openai.embeddings import EmbeddingBody, embedding_prompt
from epp.wire.openai.messages import MessagesBody, messages_prompt
from epp.wire.openai.native import (
    SglangGenerateBody,
    VllmGenerateBody,
    sglang_generate_prompt,
    vllm_generate_prompt,
)
from epp.wire.openai.paths import api_of, api_of_body
from epp.wire.openai.responses import ResponsesBody, responses_prompt


class _Reader(NamedTuple):
    """How one API is read: its body's decoder, and the prompt in a decoded body."""

    decoder: msgspec.json.Decoder[Any]
    prompt: Callable[[Any, RequestLimits], Prompt | None]


_READERS: Final = {
    Api.CHAT: _Reader(msgspec.json.Decoder(ChatBody), chat_prompt),
    Api.COMPLETIONS: _Reader(msgspec.json.Decoder(CompletionBody), completion_prompt),
    Api.EMBEDDINGS: _Reader(msgspec.json.Decoder(EmbeddingBody), embedding_prompt),
    Api.RESPONSES: _Reader(msgspec.json.Decoder(ResponsesBody), responses_prompt),
    Api.MESSAGES: _Reader(msgspec.json.Decoder(MessagesBody), messages_prompt),
    Api.COUNT_TOKENS: _Reader(msgspec.json.Decoder(MessagesBody), messages_prompt),
    Api.TOKENIZE: _Reader(msgspec.json.Decoder(TokenizeBody), tokenize_prompt),
    Api.VLLM_GENERATE: _Reader(msgspec.json.Decoder(VllmGenerateBody), vllm_generate_prompt),
    Api.SGLANG_GENERATE: _Reader(msgspec.json.Decoder(SglangGenerateBody), sglang_generate_prompt),
}


def parse_request(path: str, body: bytes | None, limits: RequestLimits = DEFAULT_LIMITS) -> InferenceRequest:
    """What ``body`` means to routing.

    An unknown path, or no body at all, is ``Api.OTHER`` and is not parsed; an empty path is one that the
    gateway did not tell. Raises BadRequestError, whose message is one sentence for the client, and nothing
    else.
    """
    if not body:
        return _other(b"")
    return _read(api_of(path), body, limits) if path else _read_without_path(body, limits)


def _read(api: Api, body: bytes, limits: RequestLimits) -> InferenceRequest:
    reader = _READERS.get(api)
    if reader is None:
        return _other(body)
    decoded = decode(reader.decoder, body)
    return record(api, decoded, reader.prompt(decoded, limits), len(body))


def _read_without_path(body: bytes, limits: RequestLimits) -> InferenceRequest:
    """As what it seems to be. What cannot be read so is routed by load and not refused: we only guessed."""
    try:
        return _read(api_of_body(body), body, limits)
    except BadRequestError:
        return _other(body)


def _other(body: bytes) -> InferenceRequest:
    return InferenceRequest(api=Api.OTHER, model="", prompt=None, body_bytes=len(body))
