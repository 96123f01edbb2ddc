"""The engine's HTTP server: vLLM's paths on aiohttp, whose C parser keeps many engines cheap on one core.

aiohttp sets TCP_NODELAY on every connection, so small stream chunks leave at once.
"""

import asyncio
import time
import uuid
from collections.abc import Callable
from contextlib import aclosing
from functools import partial
from typing import TypeVar

import msgspec
from aiohttp import web

from epp.testing.engine.dock import Dock
from epp.testing.engine.openai import AnswerWriter, ApiError, Asked, JsonDict, Reader, usage
from epp.testing.engine.runner import EngineRunner, RankRunner
from epp.testing.engine.sequence import GenerationRequest
from epp.testing.engine.sim import Emitted
from epp.testing.engine.text import AnswerBook
from epp.testing.engine.tokenizer import EngineTokenizer
from epp.testing.engine.tokens import SglangTokens, TokenWriter, VllmTokens, read_tokens

RANK_HEADER = "x-data-parallel-rank"
SERVED_BY_HEADER = "x-served-by"
_MAX_BODY_BYTES = 64 << 20
_INLINE_BYTES = 8 << 10
"""Longer bodies are tokenized in a thread: at about 2.5 MB/s they would hold up every engine's steps."""
_JSON = "application/json"
_PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"

_T = TypeVar("_T")


class EngineServer:
    """One engine's handlers. ``name`` identifies it in the ``x-served-by`` answer header."""

    def __init__(
        self, name: str, runner: EngineRunner, tokenizer: EngineTokenizer, book: AnswerBook, dock: Dock
    ) -> None:
        self.name = name
        self._runner = runner
        self._config = runner.config
        self._tokenizer = tokenizer
        self._reader = Reader(runner.config, tokenizer)
        self._book = book
        self._dock = dock
        self._handover = dock.handover
        self._started = int(time.time())

    def app(self) -> web.Application:
        """The routes."""
        app = web.Application(client_max_size=_MAX_BODY_BYTES)
        app.add_routes(
            [
                web.get("/health", self._health),
                web.get("/metrics", self._metrics),
                web.get("/v1/models", self._models),
                web.post("/v1/chat/completions", self._chat),
                web.post("/v1/completions", self._completion),
                web.post("/inference/v1/generate", self._vllm_tokens),
                web.post("/generate", self._sglang_tokens),
                web.post("/tokenize", self._tokenize),
                web.post("/reset_prefix_cache", self._reset),
                *self._dock.routes(),
            ]
        )
        app.on_cleanup.append(self._dock.close)
        return app

    # --- small pages ---------------------------------------------------------------------------------

    async def _health(self, _: web.Request) -> web.Response:
        return web.Response()

    async def _metrics(self, _: web.Request) -> web.Response:
        page = self._runner.metrics_page().encode()
        return web.Response(body=page, headers={"content-type": _PROMETHEUS})

    async def _models(self, _: web.Request) -> web.Response:
        base = self._config.model
        cards = [
            {
                "id": name,
                "object": "model",
                "created": self._started,
                "owned_by": "vllm",
                "root": name,
                "parent": None if name == base else base,
                "max_model_len": self._config.max_model_len if name == base else None,
            }
            for name in self._config.models
        ]
        return _json({"object": "list", "data": cards})

    async def _tokenize(self, request: web.Request) -> web.Response:
        raw = await request.read()
        try:
            tokens = await _maybe_in_thread(self._reader.tokenize, raw)
        except ApiError as error:
            return _failed(error)
        limit = self._config.max_model_len
        return _json({"count": len(tokens), "max_model_len": limit, "tokens": tokens.tolist()})

    async def _reset(self, _: web.Request) -> web.Response:
        return _json({"success": self._runner.reset_prefix_cache()})

    # --- generation ----------------------------------------------------------------------------------

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        return await self._generate(request, self._reader.chat, "chatcmpl", AnswerWriter)

    async def _completion(self, request: web.Request) -> web.StreamResponse:
        return await self._generate(request, self._reader.completion, "cmpl", AnswerWriter)

    async def _vllm_tokens(self, request: web.Request) -> web.StreamResponse:
        read = partial(read_tokens, self._reader)
        return await self._generate(request, read, "generate-tokens", VllmTokens)

    async def _sglang_tokens(self, request: web.Request) -> web.StreamResponse:
        read = partial(read_tokens, self._reader)
        return await self._generate(request, read, "generate", SglangTokens)

    async def _generate(
        self,
        request: web.Request,
        read: Callable[[bytes], Asked],
        prefix: str,
        make_writer: Callable[[Asked, str, int], AnswerWriter | TokenWriter],
    ) -> web.StreamResponse:
        raw = await request.read()
        try:
            asked = await _maybe_in_thread(read, raw)
            rank = self._rank(request, self._handover.rank(asked))
            handed_over = await self._handover.receive(asked)
        except ApiError as error:
            return _failed(error, self._headers())
        request_id = f"{prefix}-{request.headers.get('x-request-id') or uuid.uuid4().hex}"
        writer = make_writer(asked, request_id, int(time.time()))
        sim_request = self._simulated(asked, request_id, handed_over)
        if asked.body.stream:
            return await self._stream(request, asked, writer, rank, sim_request)
        return await self._whole(asked, writer, rank, sim_request)

    def _rank(self, request: web.Request, demanded: int | None) -> RankRunner:
        header = request.headers.get(RANK_HEADER)
        try:
            wanted = None if header is None else int(header)
            return self._runner.rank(wanted if demanded is None else demanded)
        except (ValueError, IndexError) as error:
            raise ApiError(400, f"{RANK_HEADER}: {error}") from error

    def _simulated(self, asked: Asked, request_id: str, handed_over: int) -> GenerationRequest:
        body = asked.body
        limit = 1 if self._handover.only_prompt(asked) else asked.max_tokens
        answer = self._book.answer(asked.prompt, limit, ignore_eos=body.ignore_eos, least=body.min_tokens)
        is_lora = asked.model != self._config.model
        return GenerationRequest(
            request_id=f"{request_id}-{uuid.uuid4().hex[:8]}",  # as vLLM: clients may repeat theirs
            prompt=asked.prompt,
            answer=answer.tokens,
            finish_reason=answer.finish_reason,
            lora=(asked.model, self._config.models.index(asked.model)) if is_lora else None,
            salt=body.cache_salt,
            remote_tokens=handed_over,
        )

    async def _stream(
        self,
        http: web.Request,
        asked: Asked,
        writer: AnswerWriter | TokenWriter,
        rank: RankRunner,
        request: GenerationRequest,
    ) -> web.StreamResponse:
        headers = self._headers() | {"content-type": "text/event-stream; charset=utf-8"}
        response = web.StreamResponse(headers=headers)
        await response.prepare(http)
        pending = writer.first()
        cached = 0
        async with aclosing(rank.generate(request)) as tokens:
            async for token in tokens:
                cached = token.cached_tokens
                text = self._tokenizer.text(token.token)
                pending += writer.event(token, text)
                if token.finish_reason is not None:
                    totals = usage(len(asked.prompt), len(request.answer), cached)
                    pending += writer.end(totals if asked.include_usage else None)
                await response.write(pending)
                pending = b""
        await self._handover.give(asked, request)
        await response.write_eof()
        return response

    async def _whole(
        self, asked: Asked, writer: AnswerWriter | TokenWriter, rank: RankRunner, request: GenerationRequest
    ) -> web.Response:
        tokens: list[Emitted] = []
        async with aclosing(rank.generate(request)) as produced:
            async for token in produced:
                tokens.append(token)  # noqa: PERF401 -- a comprehension would hide that the loop may be left
        text = "".join(self._tokenizer.text(token.token) for token in tokens)
        totals = usage(len(asked.prompt), len(tokens), tokens[0].cached_tokens)
        try:
            given = await self._handover.give(asked, request)
        except ApiError as error:
            return _failed(error, self._headers())
        body = writer.whole(tokens, text, totals, given.answer, given.choice)
        return web.Response(body=body, content_type=_JSON, headers=self._headers())

    def _headers(self) -> dict[str, str]:
        return {SERVED_BY_HEADER: self.name}


async def _maybe_in_thread(read: Callable[[bytes], _T], raw: bytes) -> _T:
    if len(raw) <= _INLINE_BYTES:
        return read(raw)
    return await asyncio.to_thread(read, raw)


def _json(value: JsonDict) -> web.Response:
    return web.Response(body=msgspec.json.encode(value), content_type=_JSON)


def _failed(error: ApiError, headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(status=error.status, body=error.body(), content_type=_JSON, headers=headers)
