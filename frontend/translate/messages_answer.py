"""Chat answers as Anthropic's Messages: whole, and as events.

Form: https://docs.anthropic.com/en/api/messages and …/messages-streaming.
"""

from dataclasses import dataclass
from typing import Any, Final

import msgspec

from frontend.sse import event
from frontend.translate.chat import Chunk, Delta, Outcome, Usage, first_choice
from frontend.translate.errors import anthropic_error
from frontend.translate.openblocks import OpenCall, OpenCalls, as_object

_STOP_REASONS: Final = {
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "function_call": "tool_use",
    "content_filter": "refusal",
}
_PING: Final = event(b'{"type":"ping"}', "ping")
_DELTAS: Final = {"text": "text_delta", "thinking": "thinking_delta"}


@dataclass(frozen=True, slots=True)
class MessageHead:
    """What is known of a message before it is written."""

    request_id: str
    model: str
    """As the client named it."""

    def message(self, content: list[dict[str, Any]], usage: dict[str, int]) -> dict[str, Any]:
        """The message object, its end still open."""
        return {
            "id": f"msg_{self.request_id}",
            "type": "message",
            "role": "assistant",
            "model": self.model,
            "content": content,
            "stop_reason": None,
            "stop_sequence": None,
            "usage": usage,
        }

    def call_id(self, given: str | None, number: int) -> str:
        """The id of a tool call: the engine's, if it gave one."""
        return given or f"toolu_{self.request_id}_{number}"


def whole_message(head: MessageHead, chunk: Chunk) -> bytes:
    """A whole chat completion as a message. Raises ValueError if it holds none."""
    choice = first_choice(chunk)
    if choice is None or choice.message is None:
        raise ValueError("no message")
    outcome = Outcome()
    outcome.note(chunk, choice)
    content = _content(head, choice.message)
    message = head.message(content, _usage(outcome.usage))
    message |= _stop(outcome, called=any(block["type"] == "tool_use" for block in content))
    return msgspec.json.encode(message | outcome.extension.fields())


def _content(head: MessageHead, said: Delta) -> list[dict[str, Any]]:
    content: list[dict[str, Any]] = []
    if reasoning := said.reasoning or said.reasoning_content:
        content.append({"type": "thinking", "thinking": reasoning, "signature": ""})
    if text := said.content or said.refusal:
        content.append({"type": "text", "text": text})
    for call in said.tool_calls or ():
        content.append(
            {
                "type": "tool_use",
                "id": head.call_id(call.id, len(content)),
                "name": call.function.name or "",
                "input": as_object(call.function.arguments or "") or {},
            }
        )
    return content


def _usage(usage: Usage) -> dict[str, int]:
    """Anthropic counts cached prompt tokens apart from the others."""
    cached = usage.cached_tokens
    return {
        "input_tokens": max((usage.prompt_tokens or 0) - cached, 0),
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": cached,
        "output_tokens": usage.completion_tokens or 0,
    }


def _stop(outcome: Outcome, *, called: bool) -> dict[str, str | None]:
    """Engines say ``stop`` after a call that ``tool_choice`` forced, and for a stop string alike."""
    reason = _STOP_REASONS.get(outcome.finish_reason or "", "end_turn")
    if reason == "end_turn" and outcome.stop is not None:
        return {"stop_reason": "stop_sequence", "stop_sequence": outcome.stop}
    if reason == "end_turn" and called:
        reason = "tool_use"
    return {"stop_reason": reason, "stop_sequence": None}


class MessagesWriter:
    """See :class:`~frontend.translate.stream.Writer`: the events of one message."""

    __slots__ = ("_calls", "_head", "_next_index", "_prose")

    def __init__(self, head: MessageHead) -> None:
        self._head = head
        self._next_index = 0
        self._prose: tuple[str, int] | None = None
        """Kind and index of the open block of text or thinking."""
        self._calls = OpenCalls()

    def start(self) -> bytes:
        """The message with nothing in it. Usage is known at the end, and told there."""
        message = self._head.message([], _usage(Usage()))
        return _event("message_start", message=message) + _PING

    def reasoning(self, text: str) -> bytes:
        """Into a thinking block. Its signature stays empty: nobody vouches for it."""
        return self._write("thinking", {"type": "thinking", "thinking": "", "signature": ""}, text)

    def text(self, text: str) -> bytes:
        """Into a text block."""
        return self._write("text", {"type": "text", "text": ""}, text)

    def call(self, key: int, call_id: str | None, name: str | None, arguments: str) -> bytes:
        """Into a ``tool_use`` block; what follows complete arguments is none of them."""
        out = b""
        call = self._calls.get(key)
        if call is None:
            out = self._close(all_=False)
            index = self._next_index
            call = OpenCall(index, self._head.call_id(call_id, index), name or "")
            self._calls.begin(key, call)
            out += self._begin({"type": "tool_use", "id": call.call_id, "name": call.name, "input": {}})
        if not arguments or not call.open:
            return out
        call.pieces.append(arguments)
        return out + _delta(call.index, "input_json_delta", "partial_json", arguments)

    def complete(self, outcome: Outcome) -> bytes:
        """Why it stopped, what it cost, and the end."""
        return (
            self._close(all_=True)
            + _event(
                "message_delta",
                delta=_stop(outcome, called=self._calls.any()),
                usage=_usage(outcome.usage),
                **outcome.extension.fields(),
            )
            + _event("message_stop")
        )

    def failed(self, status: int, message: str) -> bytes:
        """An error ends the stream; blocks stay unfinished, as they are."""
        return event(msgspec.json.encode(anthropic_error(status, message)), "error")

    def _write(self, kind: str, block: dict[str, Any], text: str) -> bytes:
        out = b""
        if self._prose is None or self._prose[0] != kind:
            out = self._close(all_=False)
            self._prose = (kind, self._next_index)
            out += self._begin(block)
        return out + _delta(self._prose[1], _DELTAS[kind], kind, text)

    def _begin(self, block: dict[str, Any]) -> bytes:
        index = self._next_index
        self._next_index += 1
        return _event("content_block_start", index=index, content_block=block)

    def _close(self, *, all_: bool) -> bytes:
        closed = [call.index for call in self._calls.closing(all_=all_)]
        if self._prose is not None:
            closed.append(self._prose[1])
            self._prose = None
        return b"".join(_event("content_block_stop", index=index) for index in sorted(closed))


def _delta(index: int, kind: str, field: str, text: str) -> bytes:
    return _event("content_block_delta", index=index, delta={"type": kind, field: text})


def _event(kind: str, **fields: Any) -> bytes:
    return event(msgspec.json.encode({"type": kind, **fields}), kind)
