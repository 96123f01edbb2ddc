"""``nvext`` on the way back: fields in answers and annotation events, for requests that ask for them.

Only then is an answer read; every other one passes as bytes. On the way out the segment turns the three
options that change sampling into what engines understand.
"""

from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec

from epp.core.errors import BadRequestError
from epp.core.outcomes import HeaderPairs
from epp.core.requests import Api
from epp.core.tokens import Tokenized, Tokenizer
from epp.wire.openai import parse_request
from epp.wire.tokens import token_ids
from frontend.http.api import Flow, Reply
from frontend.pipeline.call import Call, Segment
from frontend.serving.nvext_answer import Seen, extended
from frontend.sse import DONE_DATA, SseReader, event

_EXTENDED: Final = frozenset({Api.CHAT, Api.COMPLETIONS})
_TOKEN_NOTES: Final = frozenset({"token_ids", "formatted_prompt"})
_NOTES: Final = _TOKEN_NOTES | {"request_id", "llm_metrics"}
_MAX_WHOLE_BYTES: Final = 64 << 20
_SEEN: Final = msgspec.json.Decoder(Seen)

DecodeTokens = Callable[[str, list[int]], Awaitable[str | None]]
"""Text of a model's token ids, special tokens included; None: its tokenizer is not at hand."""


async def _no_text(_model: str, _ids: list[int]) -> str | None:
    return None


def _unknown(_worker_id: int) -> int:
    return 0


class NvExtSegment:
    """See the module's preface."""

    name = "nvext"

    def __init__(
        self,
        next_: Segment,
        tokenizer: Tokenizer,
        clock: Callable[[], float],
        *,
        decode: DecodeTokens = _no_text,
        block_tokens: Callable[[int], int] = _unknown,
    ) -> None:
        """``block_tokens``: block size of a worker, for ``kv_hit_rate``; 0: unknown."""
        self.next = next_
        self._tokenizer = tokenizer
        self._clock = clock
        self._decode = decode
        self._block_tokens = block_tokens

    async def handle(self, call: Call, reply: Reply) -> None:
        """See Segment."""
        asked = call.nvext
        if asked.present:
            _sample_as_asked(call)
        notes = _NOTES.intersection(asked.routing.annotations) if call.stream else frozenset[str]()
        if call.api not in _EXTENDED or not (asked.extra_fields or notes):
            await self.next.handle(call, reply)
            return
        events = b"".join([_note(name, text) for name, text in await self._notes(call, notes)])
        await self.next.handle(call, _Extending(call, reply, events, self._clock, self._block_tokens))

    async def _notes(self, call: Call, wanted: frozenset[str]) -> list[tuple[str, str]]:
        found: list[tuple[str, str]] = []
        if "request_id" in wanted:
            found.append(("request_id", call.request_id))
        tokens = await self._tokens(call) if wanted & _TOKEN_NOTES else None
        if tokens is not None:
            ids = token_ids(tokens.tokens)
            if "formatted_prompt" in wanted:
                text = await self._decode(call.model, ids)
                found += [] if text is None else [("formatted_prompt", text)]
            if "token_ids" in wanted:
                found.append(("token_ids", msgspec.json.encode(ids).decode()))
        return found

    async def _tokens(self, call: Call) -> Tokenized | None:
        try:
            prompt = parse_request(call.path, call.body.encode()).prompt
        except BadRequestError:
            return None
        if prompt is None:
            return None
        tokens = await self._tokenizer.tokenize(call.model, prompt)
        return tokens if tokens.are_ids else None


class _Extending:
    """A reply with more in it. Streams go on event by event; a whole answer is collected first."""

    def __init__(
        self,
        call: Call,
        inner: Reply,
        events: bytes,
        clock: Callable[[], float],
        block_tokens: Callable[[int], int],
    ) -> None:
        self._call = call
        self._inner = inner
        self._events = events
        self._clock = clock
        self._block_tokens = block_tokens
        self._reader: SseReader | None = None
        self._collected: list[bytes] | None = None
        self._collected_bytes = 0
        self._head: tuple[int, HeaderPairs] = (0, ())
        self._metrics = "llm_metrics" in call.nvext.routing.annotations and call.stream
        self.started = False

    def start(self, status: int, headers: HeaderPairs) -> None:
        """See Reply."""
        self.started = True
        kind = next((value for name, value in headers if name == "content-type"), "")
        if status == 200 and kind.startswith("text/event-stream"):
            self._reader = SseReader()
            self._inner.start(status, headers)
            if self._events:
                self._inner.data(self._events)
        elif status == 200 and kind.startswith("application/json"):
            self._collected = []
            self._head = status, tuple(pair for pair in headers if pair[0] != "content-length")
        else:
            self._inner.start(status, headers)

    def data(self, piece: bytes) -> None:
        """See Sink. Raises ValueError for an event beyond all bounds."""
        if self._reader is not None:
            parts = [self._event(found.data, found.event) for found in self._reader.feed(piece)]
            if parts:
                self._inner.data(b"".join(parts))
        elif self._collected is not None:
            self._collect(piece)
        else:
            self._inner.data(piece)

    def end(self) -> None:
        """See Reply."""
        if self._collected is not None:
            body = self._extended(b"".join(self._collected), whole=True)
            self._inner.start(self._head[0], (*self._head[1], ("content-length", str(len(body)))))
            if body:
                self._inner.data(body)
        self._inner.end()

    def attach(self, source: Flow | None) -> None:
        """See Sink."""
        self._inner.attach(source)

    def _collect(self, piece: bytes) -> None:
        assert self._collected is not None
        self._collected.append(piece)
        self._collected_bytes += len(piece)
        if self._collected_bytes > _MAX_WHOLE_BYTES:
            self._inner.start(*self._head)
            self._inner.data(b"".join(self._collected))
            self._collected = None

    def _event(self, data: bytes, name: str) -> bytes:
        if data == DONE_DATA or name:
            return event(data, name)
        metrics = self._metrics_note(data) if self._metrics else b""
        return metrics + event(self._extended(data, whole=False))

    def _metrics_note(self, data: bytes) -> bytes:
        """``llm_metrics``, once the answer's usage is known."""
        try:
            usage = _SEEN.decode(data).usage
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return b""
        if usage is None:
            return b""
        facts: dict[str, Any] = {
            "input_tokens": usage.prompt_tokens,
            "output_tokens": usage.completion_tokens,
            "chunk_tokens": 0,
        }
        return _note("llm_metrics", msgspec.json.encode(facts).decode())

    def _extended(self, raw: bytes, *, whole: bool) -> bytes:
        return extended(raw, self._call, self._clock(), self._block_tokens, whole=whole)


def _note(name: str, text: str) -> bytes:
    """An annotation: Dynamo sends its value as a JSON string in a comment line."""
    return b"event: %b\n: %b\n\n" % (name.encode(), msgspec.json.encode(text))


def _sample_as_asked(call: Call) -> None:
    changes: dict[str, Any] = {}
    asked = call.nvext
    if asked.greedy:
        changes |= {"temperature": 0.0, "top_p": msgspec.UNSET, "top_k": msgspec.UNSET}
    if asked.max_thinking_tokens is not None and "thinking_token_budget" not in call.body:
        changes["thinking_token_budget"] = asked.max_thinking_tokens
    if "completion_token_ids" in asked.extra_fields and "return_token_ids" not in call.body:
        changes["return_token_ids"] = True
    if changes:
        call.body = call.body.replace(**changes)
