"""The OpenAI surface as vLLM answers it: bodies in, bytes out, no sockets.

Fields the simulation has no use for are accepted and ignored, as unknown fields are by vLLM.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import msgspec

from epp.testing.engine.config import EngineConfig
from epp.testing.engine.ids import TokenIds, ids
from epp.testing.engine.sim import Emitted
from epp.testing.engine.tokenizer import EngineTokenizer, PromptError

_MARK = "\0"
"""Stands for the text of a chunk while the bytes around it are made."""

JsonDict: TypeAlias = dict[str, Any]


class ApiError(Exception):
    """An error answer; ``kind`` is vLLM's exception name in the body."""

    def __init__(self, status: int, message: str, kind: str = "BadRequestError") -> None:
        super().__init__(message)
        self.status, self.kind = status, kind

    def body(self) -> bytes:
        """The JSON vLLM sends."""
        error = {"message": str(self), "type": self.kind, "param": None, "code": self.status}
        return msgspec.json.encode({"error": error})


class StreamOptions(msgspec.Struct, frozen=True):
    """``stream_options``."""

    include_usage: bool = False


class KvTransferParams(msgspec.Struct, frozen=True):
    """``kv_transfer_params`` of a request: the NIXL connector's contract, as far as it is simulated."""

    do_remote_decode: bool = False
    """A prefill: the answer carries parameters for whoever decodes."""
    do_remote_prefill: bool = False
    """A decode: the prompt's KV comes from elsewhere."""
    remote_request_id: str | None = None
    remote_host: str | None = None
    remote_port: int | None = None


class GenerationBody(msgspec.Struct):
    """What chat and completions bodies share."""

    model: str | None = None
    stream: bool = False
    stream_options: StreamOptions | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    min_tokens: int = 0
    ignore_eos: bool = False
    n: int = 1
    cache_salt: str | None = None
    kv_transfer_params: KvTransferParams | None = None
    return_token_ids: bool | None = None
    bootstrap_host: str | None = None
    """This and the next four: SGLang's."""
    bootstrap_port: int | None = None
    bootstrap_room: int | None = None
    routed_dp_rank: int | None = None
    disagg_prefill_dp_rank: int | None = None
    disaggregated_params: JsonDict | None = None
    """TensorRT-LLM's, as the next."""
    detokenize: bool = True
    """False: ids in place of text."""
    add_special_tokens: bool | None = None


class ChatBody(GenerationBody):
    """``POST /v1/chat/completions``; ``/tokenize`` with messages uses the same fields."""

    messages: list[JsonDict] = []
    tools: list[JsonDict] | None = None
    documents: list[JsonDict] | None = None
    add_generation_prompt: bool = True
    continue_final_message: bool = False
    chat_template_kwargs: JsonDict | None = None
    prompt_token_ids: list[int] | None = None
    """TensorRT-LLM's: the rendered prompt, by whoever rendered it before."""


class CompletionBody(GenerationBody):
    """``POST /v1/completions``: text or token ids."""

    prompt: str | list[int | str | list[int]] = ""


class TokenizeBody(ChatBody):
    """``POST /tokenize``: text or messages."""

    prompt: str | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """A request understood: what is needed to generate and to shape the answer."""

    body: GenerationBody
    chat: bool
    model: str
    prompt: TokenIds
    max_tokens: int

    @property
    def include_usage(self) -> bool:
        """Whether a stream ends with a usage chunk."""
        return bool(self.body.stream_options and self.body.stream_options.include_usage)


class Reader:
    """Turns bodies into :class:`Asked`; every method raises ApiError for what vLLM refuses."""

    def __init__(self, config: EngineConfig, tokenizer: EngineTokenizer) -> None:
        self._config = config
        self._tokenizer = tokenizer
        self._chat = msgspec.json.Decoder(ChatBody)
        self._completion = msgspec.json.Decoder(CompletionBody)
        self._tokenize = msgspec.json.Decoder(TokenizeBody)

    def chat(self, raw: bytes) -> Asked:
        """A chat completion request."""
        body = _decode(self._chat, raw)
        if not body.messages:
            raise ApiError(400, "messages must not be empty")
        given = body.prompt_token_ids
        return self._asked(body, self._render(body) if given is None else _checked(given), chat=True)

    def completion(self, raw: bytes) -> Asked:
        """A completion request; of several prompts only one is supported."""
        body = _decode(self._completion, raw)
        return self._asked(body, self._one_prompt(body), chat=False)

    def given(self, body: GenerationBody, prompt: list[int]) -> Asked:
        """A request whose prompt is ids."""
        return self._asked(body, _checked(prompt), chat=True)

    def tokenize(self, raw: bytes) -> TokenIds:
        """Ids for ``/tokenize``."""
        body = _decode(self._tokenize, raw)
        if body.prompt is None:
            return self._render(body)
        special = body.add_special_tokens is not False
        return self._tokenizer.encode(body.prompt, special=special)

    def _render(self, body: ChatBody) -> TokenIds:
        options: JsonDict = {
            "add_generation_prompt": body.add_generation_prompt,
            "continue_final_message": body.continue_final_message,
            "tools": body.tools,
            "documents": body.documents,
            **(body.chat_template_kwargs or {}),
        }
        try:
            text = self._tokenizer.chat(body.messages, options)
        except PromptError as error:
            raise ApiError(400, str(error)) from error
        return self._tokenizer.encode(text, special=bool(body.add_special_tokens))

    def _one_prompt(self, body: CompletionBody) -> TokenIds:
        prompt: Any = body.prompt
        if isinstance(body.prompt, list) and body.prompt and not isinstance(body.prompt[0], int):
            if len(body.prompt) > 1:
                raise ApiError(400, "the simulation completes one prompt per request")
            prompt = body.prompt[0]
        if isinstance(prompt, str):
            return self._tokenizer.encode(prompt, special=body.add_special_tokens is not False)
        return _checked(prompt)

    def _asked(self, body: GenerationBody, prompt: TokenIds, *, chat: bool) -> Asked:
        model = body.model or self._config.model
        if model not in self._config.models:
            raise ApiError(404, f"The model `{model}` does not exist.", "NotFoundError")
        if not prompt:
            raise ApiError(400, "The prompt is empty.")
        if body.n != 1:
            raise ApiError(400, "the simulation supports n=1 only")
        limit = self._config.max_model_len
        room = limit - len(prompt)
        wanted = body.max_completion_tokens or body.max_tokens or (room if chat else 16)
        if room < 1 or wanted > room or wanted < 1:
            raise ApiError(
                400,
                f"This model's maximum context length is {limit} tokens. However, you requested {wanted} "
                f"output tokens and your prompt contains {len(prompt)} input tokens.",
            )
        return Asked(body, chat, model, prompt, wanted)


def _checked(tokens: list[int]) -> TokenIds:
    try:
        return ids(tokens)
    except (OverflowError, TypeError) as error:
        raise ApiError(400, "token ids must be unsigned 32-bit numbers") from error


def _decode(decoder: "msgspec.json.Decoder[Any]", raw: bytes) -> Any:
    try:
        return decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ApiError(400, f"the body is not a valid request: {error}") from error


def usage(prompt_tokens: int, completion_tokens: int, cached_tokens: int) -> JsonDict:
    """The ``usage`` object, with the ground truth of the cache in it."""
    return {
        "prompt_tokens": prompt_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
        "completion_tokens": completion_tokens,
        "prompt_tokens_details": {"cached_tokens": cached_tokens},
    }


class AnswerWriter:
    """Shapes one answer, streamed or whole. ``created`` is unix seconds."""

    def __init__(self, asked: Asked, request_id: str, created: int) -> None:
        self._chat = asked.chat
        self._writes_text = asked.body.detokenize
        self._tells_ids = bool(asked.body.return_token_ids) or not self._writes_text
        self._prompt: list[int] | None = asked.prompt.tolist() if self._tells_ids else None
        """Told once, with the first chunk: beside the choices of a chat, in the choice of a completion."""
        self._base: JsonDict = {"id": request_id, "created": created, "model": asked.model}
        kind = "chat.completion" if asked.chat else "text_completion"
        self._whole_kind = kind
        self._chunk_kind = f"{kind}.chunk" if asked.chat else kind
        sample = self._event(self._delta({"content": _MARK}, None))
        self._head, _, self._tail = sample.partition(msgspec.json.encode(_MARK))

    def first(self) -> bytes:
        """The chunk before any text: a chat's role."""
        if not self._chat:
            return b""
        told = {"prompt_token_ids": self._prompt} if self._tells_ids else {}
        return self._event(self._delta({"role": "assistant", "content": ""}, None) | told)

    def delta(self, text: str) -> bytes:
        """A chunk with text: the hot one, so all but the text is made once."""
        return self._head + msgspec.json.encode(text) + self._tail

    def last(self, text: str, finish_reason: str) -> bytes:
        """The final text and why it is final."""
        return self._event(self._delta({"content": text}, finish_reason))

    def event(self, token: Emitted, text: str) -> bytes:
        """One produced token."""
        if self._tells_ids:
            return self._event(self._with_ids(token, text))
        return self.delta(text) if token.finish_reason is None else self.last(text, token.finish_reason)

    def end(self, usage_object: JsonDict | None) -> bytes:
        """What follows the text: usage if asked for, then the end marker."""
        chunk = b""
        if usage_object is not None:
            chunk = self._event({"choices": [], "usage": usage_object})
        return chunk + b"data: [DONE]\n\n"

    def whole(
        self,
        tokens: Sequence[Emitted],
        text: str,
        usage_object: JsonDict,
        more: JsonDict,
        more_of_choice: JsonDict,
    ) -> bytes:
        """A complete answer that was not streamed; the last two are fields of the engine's own."""
        finish_reason = tokens[-1].finish_reason
        choice: JsonDict = {"index": 0, "logprobs": None, "finish_reason": finish_reason, **more_of_choice}
        choice |= {"message": {"role": "assistant", "content": text}} if self._chat else {"text": text}
        if not self._writes_text:
            choice |= {"text": "", "token_ids": [token.token for token in tokens]}
        answer = {**self._base, "object": self._whole_kind, "choices": [choice], "usage": usage_object}
        return msgspec.json.encode(answer | more)

    def _delta(self, delta: JsonDict, finish_reason: str | None) -> JsonDict:
        content: JsonDict = {"delta": delta} if self._chat else {"text": delta["content"]}
        choice = {"index": 0, **content, "logprobs": None, "finish_reason": finish_reason}
        return {"choices": [choice]}

    def _with_ids(self, token: Emitted, text: str) -> JsonDict:
        chunk = self._delta({"content": text if self._writes_text else ""}, token.finish_reason)
        told: JsonDict = {"token_ids": [token.token]}
        if not self._chat:
            told["prompt_token_ids"], self._prompt = self._prompt, None
        chunk["choices"][0] |= told
        return chunk

    def _event(self, fields: JsonDict) -> bytes:
        chunk = {**self._base, "object": self._chunk_kind, **fields}
        return b"data: " + msgspec.json.encode(chunk) + b"\n\n"


def handed_over(engine_id: str, request_id: str, blocks: int, tokens: int, port: int) -> JsonDict:
    """``kv_transfer_params`` a prefill answers with, shaped as vLLM's NIXL connector shapes them; whoever
    routes passes them on unread."""
    return {
        "do_remote_prefill": True,
        "do_remote_decode": False,
        "remote_block_ids": [list(range(1, blocks + 1))],
        "remote_engine_id": engine_id,
        "remote_request_id": request_id,
        "remote_host": "127.0.0.1",
        "remote_port": port,
        "tp_size": 1,
        "remote_num_tokens": tokens,
        "transfer_mode": "pull",
    }
