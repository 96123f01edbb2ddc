"""A chat stream taken apart: events in, the bytes of another API's stream out, without I/O.

:class:`ChatStream` knows the chat side and when a stream is over; a :class:`Writer` knows the other side.
Total: whatever an engine sends, the writer is told to start once, to end once, and nothing after that.
"""

from typing import Final, Protocol

from frontend.sse import DONE_DATA, SseEvent
from frontend.translate.chat import (
    Chunk,
    Delta,
    Outcome,
    ToolCall,
    error_message,
    error_status,
    first_choice,
    read_chunk,
)

UNREADABLE: Final = "The model server's answer could not be understood."
CUT_SHORT: Final = "The model server's answer ended before it was complete."
TOO_LONG: Final = "The model server's answer is longer than this frontend takes."
MAX_ANSWER_CHARS: Final = 64 * 1024 * 1024
"""Writers may keep what was said until its end. A million tokens are a tenth of this."""
_CALL_CHARS: Final = 256
"""What one mention of a tool call counts for beside its arguments."""
_FAILED: Final = "The model server failed while answering."


class Writer(Protocol):
    """Writes one answer as another API's stream."""

    def start(self) -> bytes:
        """What stands before everything else."""
        ...

    def reasoning(self, text: str) -> bytes:
        """More reasoning; never empty."""
        ...

    def text(self, text: str) -> bytes:
        """More of the answer; never empty."""
        ...

    def call(self, key: int, call_id: str | None, name: str | None, arguments: str) -> bytes:
        """More of tool call ``key``, which a first mention begins. Calls may be interleaved."""
        ...

    def complete(self, outcome: Outcome) -> bytes:
        """The answer is whole; everything that is open is closed."""
        ...

    def failed(self, status: int, message: str) -> bytes:
        """It will not be."""
        ...


class ChatStream:
    """One chat stream on its way into a writer."""

    __slots__ = ("_calls", "_chars", "_ended", "_outcome", "_started", "_writer")

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._outcome = Outcome()
        self._started = False
        self._ended = False
        self._calls = 0
        self._chars = 0

    def feed(self, event: SseEvent) -> bytes:
        """What ``event`` adds to the other stream."""
        if self._ended or event.event not in {"", "message", "error"}:
            return b""  # annotations of ours are named, and have no place in these APIs
        if event.data == DONE_DATA:
            return self.finish(said_so=True)
        try:
            chunk = read_chunk(event.data)
        except ValueError:
            return self.fail(502, UNREADABLE)
        told = chunk.message if chunk.error is None else chunk.error
        if told is not None or event.event == "error":
            return self.fail(error_status(told, 500), error_message(told) or _FAILED)
        return self.take(chunk)

    def finish(self, *, said_so: bool = False) -> bytes:
        """The chat stream is over; ``said_so``: it ended with its own word for that."""
        if self._ended:
            return b""
        if not self._started or (self._outcome.finish_reason is None and not said_so):
            return self.fail(502, CUT_SHORT)
        self._ended = True
        return self._writer.complete(self._outcome)

    def fail(self, status: int, message: str) -> bytes:
        """The chat stream cannot go on."""
        if self._ended:
            return b""
        self._ended = True
        return self._start() + self._writer.failed(status, message)

    def _start(self) -> bytes:
        if self._started:
            return b""
        self._started = True
        return self._writer.start()

    def take(self, chunk: Chunk) -> bytes:
        """What a decoded chunk, or a whole completion, adds."""
        choice = first_choice(chunk)
        self._outcome.note(chunk, choice)
        delta = choice and (choice.delta or choice.message)
        started = self._start()
        return started + self._bounded(delta) if delta else started

    def _bounded(self, delta: Delta) -> bytes:
        said = (delta.reasoning, delta.reasoning_content, delta.content, delta.refusal)
        self._chars += sum(len(text) for text in said if text)
        for call in delta.tool_calls or ():
            self._chars += _CALL_CHARS + len(call.function.arguments or "")
        if self._chars > MAX_ANSWER_CHARS:
            return self.fail(502, TOO_LONG)
        return self._delta(delta)

    def _delta(self, delta: Delta) -> bytes:
        out = b""
        if reasoning := delta.reasoning or delta.reasoning_content:
            out += self._writer.reasoning(reasoning)
        if text := delta.content or delta.refusal:
            out += self._writer.text(text)
        for call in delta.tool_calls or ():
            key = self._key(call)
            self._calls = max(self._calls, key + 1)
            out += self._writer.call(key, call.id, call.function.name, call.function.arguments or "")
        return out

    def _key(self, call: ToolCall) -> int:
        """Which call a piece belongs to: what it says, else a new one if it names one, else the last."""
        if call.index is not None:
            return call.index
        begins = bool(call.id or call.function.name)
        return self._calls if begins else max(self._calls - 1, 0)
