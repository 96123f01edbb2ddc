"""One choice of an answer: engine's ids in, pieces of the answer out."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from frontend.postprocess.pieces import CallStart, Piece, merged
from frontend.postprocess.processor import Prepared
from frontend.postprocess.sampling import Sampling
from frontend.postprocess.stops import StopScanner
from frontend.postprocess.tokens_wire import TokenDelta, TokenLogprob

_OPENAI_REASONS = frozenset({"stop", "length", "content_filter", "tool_calls"})


@dataclass(slots=True)
class Update:
    """What one event of the engine adds to a choice."""

    index: int
    pieces: list[Piece]
    tokens: list[int] = field(default_factory=list[int])
    """New token ids, hidden ones included."""
    logprobs: list[TokenLogprob] = field(default_factory=list[TokenLogprob])
    finish_reason: str | None = None
    stop_reason: int | str | None = None


class ChoiceReader:
    """Decodes, stops and parses. ``finished`` once the choice is over; later deltas are dropped."""

    def __init__(self, index: int, prepared: Prepared, sampling: Sampling) -> None:
        self._index = index
        self._sampling = sampling
        self._special = prepared.decoder.special
        self._stream = prepared.decoder.stream(skip_special=sampling.skip_special, keep=prepared.keep)
        self._stops = StopScanner(sampling.stops, include=sampling.include_stop)
        self._parser = prepared.parser()
        self._calls = False
        self.tokens = 0
        """Generated so far."""
        self.reasoning_tokens = 0
        self.finished = False

    def push(self, delta: TokenDelta) -> Update | None:
        """What the delta adds; None: the choice was over."""
        if self.finished:
            return None
        update = Update(self._index, [], stop_reason=delta.stop_reason)
        for at, token in enumerate(delta.token_ids):
            last = at + 1 == len(delta.token_ids)
            self._token(token, update, hidden=last and self._ends(token, delta))
            if delta.logprobs is not None and at < len(delta.logprobs):
                update.logprobs.append(delta.logprobs[at])
            if self._stops.found is not None:
                break
        if self._stops.found is None and delta.finish_reason is not None:
            self._text(self._stream.finish(), (), update)
        over = self._stops.found is not None or delta.finish_reason is not None
        if over:
            self._finish(update)
        update.pieces = merged(update.pieces)
        self._calls = self._calls or any(isinstance(piece, CallStart) for piece in update.pieces)
        if over:
            self._reason(delta, update)
        return update

    def _token(self, token: int, update: Update, *, hidden: bool) -> None:
        self.tokens += 1
        self.reasoning_tokens += self._parser.reasoning
        update.tokens.append(token)
        text = "" if hidden else self._stream.push(token)
        if text:
            self._text(text, (token,), update)

    def _text(self, text: str, tokens: Sequence[int], update: Update) -> None:
        shown = self._stops.feed(text, armed=self.tokens > self._sampling.min_tokens)
        if shown:
            update.pieces += self._parser.feed(shown, tokens)

    def _ends(self, token: int, delta: TokenDelta) -> bool:
        """The token that stopped the engine is no text: the end of the sequence, or a stop token."""
        if delta.finish_reason != "stop" or self._sampling.include_stop:
            return False
        return token in self._special or token in self._sampling.stop_token_ids or token == delta.stop_reason

    def _finish(self, update: Update) -> None:
        self.finished = True
        held = self._stops.finish()
        if held:
            update.pieces += self._parser.feed(held, ())
        update.pieces += self._parser.finish()

    def _reason(self, delta: TokenDelta, update: Update) -> None:
        reason = delta.finish_reason or "stop"
        if self._stops.found is not None:
            reason, update.stop_reason = "stop", self._stops.found
        elif reason not in _OPENAI_REASONS:
            reason, update.stop_reason = "stop", update.stop_reason or reason
        update.finish_reason = "tool_calls" if self._calls and reason == "stop" else reason
