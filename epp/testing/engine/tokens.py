"""Tokens in, tokens out: vLLM's ``/inference/v1/generate`` and SGLang's ``/generate``, simulated.

The same answers as on the OpenAI paths, as ids. Log-probabilities are made up, but always the same.
"""

from collections.abc import Sequence
from typing import Any, Final, Protocol

import msgspec

from epp.testing.engine.openai import ApiError, Asked, GenerationBody, JsonDict, Reader
from epp.testing.engine.sim import Emitted

_LOGPROB: Final = -0.25
"""Of every token that is produced; an alternative loses half a unit per rank."""
_DONE: Final = b"data: [DONE]\n\n"


class SamplingParams(msgspec.Struct):
    """``sampling_params`` in both spellings."""

    max_tokens: int | None = None
    max_new_tokens: int | None = None
    min_tokens: int = 0
    min_new_tokens: int = 0
    ignore_eos: bool = False
    n: int = 1
    logprobs: int | None = None


class GenerateBody(GenerationBody):
    """``POST /inference/v1/generate`` and ``POST /generate``."""

    token_ids: list[int] = msgspec.field(default_factory=list[int])
    input_ids: list[int] = msgspec.field(default_factory=list[int])
    sampling_params: SamplingParams = msgspec.field(default_factory=SamplingParams)
    return_logprob: bool = False
    top_logprobs_num: int = 0

    def __post_init__(self) -> None:
        """What the OpenAI bodies have at the top stands in ``sampling_params`` here."""
        asked = self.sampling_params
        self.max_tokens = asked.max_tokens or asked.max_new_tokens
        self.min_tokens = asked.min_tokens or asked.min_new_tokens
        self.ignore_eos, self.n = asked.ignore_eos, asked.n


_BODY: Final = msgspec.json.Decoder(GenerateBody)


def read_tokens(reader: Reader, raw: bytes) -> Asked:
    """A request in either form. Raises ApiError."""
    try:
        body = _BODY.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ApiError(400, f"the body is not a valid request: {error}") from error
    return reader.given(body, body.token_ids or body.input_ids)


class TokenWriter(Protocol):
    """Shapes one answer, as :class:`~epp.testing.engine.openai.AnswerWriter` does for text."""

    def first(self) -> bytes:
        """What stands before any token."""
        ...

    def event(self, token: Emitted, text: str) -> bytes:
        """One produced token."""
        ...

    def end(self, usage_object: JsonDict | None) -> bytes:
        """What follows the tokens: usage if asked for, then the end marker."""
        ...

    def whole(
        self,
        tokens: Sequence[Emitted],
        text: str,
        usage_object: JsonDict,
        more: JsonDict,
        more_of_choice: JsonDict,
    ) -> bytes:
        """A complete answer that was not streamed; the last two are fields of the engine's own."""
        ...


class VllmTokens:
    """``/inference/v1/generate``."""

    def __init__(self, asked: Asked, request_id: str, created: int) -> None:
        assert isinstance(asked.body, GenerateBody)
        self._base: JsonDict = {"request_id": request_id}
        self._more: JsonDict = {"model": asked.model, "created": created}
        self._logprobs = asked.body.sampling_params.logprobs

    def first(self) -> bytes:
        """See TokenWriter."""
        return b""

    def event(self, token: Emitted, text: str) -> bytes:
        """See TokenWriter."""
        del text
        return _event(
            {**self._base, "usage": None, "output_mode": "tokens", "choices": [self._choice([token])]}
        )

    def end(self, usage_object: JsonDict | None) -> bytes:
        """See TokenWriter."""
        last: JsonDict = {**self._base, "usage": usage_object, "output_mode": "tokens", "choices": []}
        return (b"" if usage_object is None else _event(last)) + _DONE

    def whole(
        self,
        tokens: Sequence[Emitted],
        text: str,
        usage_object: JsonDict,
        more: JsonDict,
        more_of_choice: JsonDict,
    ) -> bytes:
        """See TokenWriter."""
        del text
        choice = self._choice(tokens) | more_of_choice
        answer = {**self._base, **self._more, "choices": [choice], "usage": usage_object}
        return msgspec.json.encode(answer | more)

    def _choice(self, tokens: Sequence[Emitted]) -> JsonDict:
        return {
            "index": 0,
            "logprobs": None if self._logprobs is None else self._content(tokens, self._logprobs),
            "finish_reason": tokens[-1].finish_reason,
            "stop_reason": None,
            "token_ids": [token.token for token in tokens],
        }

    def _content(self, tokens: Sequence[Emitted], ranks: int) -> JsonDict:
        return {
            "content": [
                {
                    "token_id": token.token,
                    "logprob": _LOGPROB,
                    "rank": 1,
                    "top_logprobs": [
                        {"token_id": other, "logprob": value, "rank": rank + 1}
                        for rank, (other, value) in enumerate(_alternatives(token.token, max(ranks, 1)))
                    ],
                }
                for token in tokens
            ]
        }


class SglangTokens:
    """``/generate``; every event repeats all ids so far."""

    def __init__(self, asked: Asked, request_id: str, created: int) -> None:
        assert isinstance(asked.body, GenerateBody)
        del created
        self._request_id = request_id
        self._prompt_tokens = len(asked.prompt)
        self._ranks = asked.body.top_logprobs_num if asked.body.return_logprob else None
        self._tokens: list[Emitted] = []

    def first(self) -> bytes:
        """See TokenWriter."""
        return b""

    def event(self, token: Emitted, text: str) -> bytes:
        """See TokenWriter."""
        del text
        self._tokens.append(token)
        return _event(self._answer(self._tokens))

    def end(self, usage_object: JsonDict | None) -> bytes:
        """See TokenWriter; the counts stood in every event."""
        del usage_object
        return _DONE

    def whole(
        self,
        tokens: Sequence[Emitted],
        text: str,
        usage_object: JsonDict,
        more: JsonDict,
        more_of_choice: JsonDict,
    ) -> bytes:
        """See TokenWriter."""
        del text, usage_object
        return msgspec.json.encode(self._answer(tokens) | more | more_of_choice)

    def _answer(self, tokens: Sequence[Emitted]) -> JsonDict:
        reason = tokens[-1].finish_reason
        finish = {"type": "length", "length": len(tokens)} if reason == "length" else {"type": reason}
        meta: JsonDict = {
            "id": self._request_id,
            "finish_reason": None if reason is None else finish,
            "prompt_tokens": self._prompt_tokens,
            "completion_tokens": len(tokens),
            "cached_tokens": tokens[0].cached_tokens,
        }
        if self._ranks is not None:
            meta["output_token_logprobs"] = [[_LOGPROB, token.token, None] for token in tokens]
            meta["output_top_logprobs"] = [
                [[value, other, None] for other, value in _alternatives(token.token, self._ranks)]
                for token in tokens
            ]
        return {"text": "", "output_ids": [token.token for token in tokens], "meta_info": meta}


def _alternatives(token: int, ranks: int) -> list[tuple[int, float]]:
    return [(max(0, token - rank), _LOGPROB - rank / 2) for rank in range(ranks)]


def _event(value: dict[str, Any]) -> bytes:
    return b"data: " + msgspec.json.encode(value) + b"\n\n"
