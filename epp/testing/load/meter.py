"""One streamed chat completion, measured while its bytes arrive. Time is an argument."""

from dataclasses import dataclass, field
from typing import Any

import msgspec

from epp.testing.load.http1 import EventReader, ResponseError, ResponseReader

_DONE = b"[DONE]"
_OK = 200


class _Details(msgspec.Struct):
    cached_tokens: int = 0


class _Usage(msgspec.Struct):
    prompt_tokens: int = 0
    completion_tokens: int = 0
    prompt_tokens_details: _Details | None = None


class _Delta(msgspec.Struct):
    content: str | None = None


class _Choice(msgspec.Struct):
    delta: _Delta = msgspec.field(default_factory=_Delta)


class _Chunk(msgspec.Struct):
    choices: list[_Choice] = []
    usage: _Usage | None = None


_decoder = msgspec.json.Decoder(_Chunk)


@dataclass(slots=True)
class StreamMeter:
    """Feed it a connection's bytes until ``done``."""

    sent_s: float
    response: ResponseReader = field(default_factory=ResponseReader)
    first_text_s: float | None = None
    usage: Any = field(default_factory=_Usage)
    """Token counts: ``prompt_tokens``, ``completion_tokens``, ``prompt_tokens_details``."""
    complete: bool = False
    """The stream's own end marker was seen."""
    _events: EventReader = field(default_factory=EventReader)
    _texts: list[str] = field(default_factory=list[str])
    _refusal: bytes = b""

    @property
    def done(self) -> bool:
        """The response is over."""
        return self.response.done

    @property
    def text(self) -> str:
        """The answer so far."""
        return "".join(self._texts)

    @property
    def cached_tokens(self) -> int:
        """Prompt tokens the engine found in its cache."""
        details = self.usage.prompt_tokens_details
        return details.cached_tokens if details else 0

    def feed(self, data: bytes, now_s: float) -> None:
        """Take bytes. Raises ResponseError for what is no chat completion stream."""
        body = self.response.feed(data)
        if self.response.status == _OK:
            for event in self._events.feed(body):
                self._event(event, now_s)
        else:
            self._refusal += body[: 400 - len(self._refusal)]

    def error(self) -> str:
        """Why the finished response is not a good one; empty: it is."""
        if self.response.status != _OK:
            return f"status {self.response.status}: {self._refusal.decode(errors='replace')}"
        return "" if self.complete else "the stream ended before its end marker"

    def _event(self, event: bytes, now_s: float) -> None:
        if event == _DONE:
            self.complete = True
            return
        try:
            chunk = _decoder.decode(event)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ResponseError(f"not a chunk: {event[:80]!r}") from error
        if chunk.usage is not None:
            self.usage = chunk.usage
        for choice in chunk.choices:
            if choice.delta.content:
                self.first_text_s = now_s if self.first_text_s is None else self.first_text_s
                self._texts.append(choice.delta.content)
