"""Chat answers as OpenAI's Responses: the object, whole or built up through events.

Form: https://platform.openai.com/docs/api-reference/responses and …/responses-streaming. One writer serves
both: a whole completion is written as one piece, and of what comes out only the final object is kept.
"""

from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from frontend.sse import event
from frontend.translate.chat import Chunk, Outcome, Usage, first_choice
from frontend.translate.openblocks import OpenCall, OpenCalls, as_object
from frontend.translate.responses_tools import ToolNames, custom_input
from frontend.translate.stream import ChatStream

_INCOMPLETE: Final = {"length": "max_output_tokens", "content_filter": "content_filter"}


@dataclass(frozen=True, slots=True)
class ResponseHead:
    """What is known of a response before it is written."""

    request_id: str
    model: str
    """As the client named it."""
    created_s: int
    """Unix time."""
    echo: dict[str, Any] = field(default_factory=dict[str, Any])
    """Fields of the request that its response repeats."""
    names: ToolNames = field(default_factory=ToolNames)
    """What function names stand for."""

    def response(self, status: str, output: list[dict[str, Any]]) -> dict[str, Any]:
        """The response object."""
        return {
            "id": f"resp_{self.request_id}",
            "object": "response",
            "created_at": self.created_s,
            "status": status,
            "error": None,
            "incomplete_details": None,
            "model": self.model,
            "output": output,
            "previous_response_id": None,
            "store": False,
            "truncation": "disabled",
            "usage": None,
            **self.echo,
        }

    def item_id(self, prefix: str, number: int) -> str:
        """The id of the output item ``number``."""
        return f"{prefix}_{self.request_id}_{number}"


def whole_response(head: ResponseHead, chunk: Chunk) -> bytes:
    """A whole chat completion as a response. Raises ValueError if it holds none."""
    choice = first_choice(chunk)
    if choice is None or choice.message is None:
        raise ValueError("no message")
    writer = ResponsesWriter(head)
    stream = ChatStream(writer)
    stream.take(chunk)
    stream.finish(said_so=True)
    return msgspec.json.encode(writer.response)


@dataclass(slots=True)
class _Prose:
    """The open item of text or reasoning."""

    index: int
    item_id: str
    is_text: bool
    pieces: list[str] = field(default_factory=list[str])

    @property
    def kind(self) -> str:
        return "output_text" if self.is_text else "reasoning_text"

    def part(self, text: str) -> dict[str, Any]:
        """Its one content part."""
        if self.is_text:
            return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
        return {"type": "reasoning_text", "text": text}

    def item(self, status: str, content: list[dict[str, Any]]) -> dict[str, Any]:
        """The output item."""
        item: dict[str, Any] = {"id": self.item_id, "status": status, "content": content}
        if self.is_text:
            return item | {"type": "message", "role": "assistant"}
        return item | {"type": "reasoning", "summary": []}

    def place(self) -> dict[str, Any]:
        """Where events about its part say they belong."""
        return {"item_id": self.item_id, "output_index": self.index, "content_index": 0}


class ResponsesWriter:
    """See :class:`~frontend.translate.stream.Writer`: the events of one response."""

    __slots__ = ("_calls", "_head", "_items", "_prose", "_sequence", "response")

    def __init__(self, head: ResponseHead) -> None:
        self._head = head
        self._items: dict[int, dict[str, Any]] = {}
        """Output items as last told, by index."""
        self._prose: _Prose | None = None
        self._calls = OpenCalls()
        self._sequence = 0
        self.response = head.response("in_progress", [])
        """The object; final once ``complete`` or ``failed`` was called."""

    def start(self) -> bytes:
        """The response with nothing in it, twice: it was created, and it is being written."""
        return self._event("response.created", response=self.response) + self._event(
            "response.in_progress", response=self.response
        )

    def reasoning(self, text: str) -> bytes:
        """Into a reasoning item, as its content: engines show it raw, not summarized."""
        return self._write(text, is_text=False)

    def text(self, text: str) -> bytes:
        """Into a message item."""
        return self._write(text, is_text=True)

    def call(self, key: int, call_id: str | None, name: str | None, arguments: str) -> bytes:
        """Into a ``function_call`` item; what follows complete arguments is none of them."""
        out = b""
        call = self._calls.get(key)
        if call is None:
            out = self._close(all_=False)
            index = len(self._items)
            made = call_id or self._head.item_id("call", index)
            call = self._calls.begin(key, OpenCall(index, made, name or ""))
            out += self._item("added", index, self._call_item(call, "in_progress", ""))
        if not call.open:
            return out
        return out + self._arguments(call, arguments)

    def complete(self, outcome: Outcome) -> bytes:
        """The items that are open end, and the whole object follows."""
        reason = _INCOMPLETE.get(outcome.finish_reason or "")
        status = "completed" if reason is None else "incomplete"
        closed = self._close(all_=True, status=status)
        details = None if reason is None else {"reason": reason}
        self._end(
            status, incomplete_details=details, usage=_usage(outcome.usage), **outcome.extension.fields()
        )
        return closed + self._event(f"response.{status}", response=self.response)

    def failed(self, status: int, message: str) -> bytes:
        """The object with an error; items stay as they were last told."""
        code = "rate_limit_exceeded" if status == 429 else "server_error"
        code = "invalid_prompt" if 400 <= status < 429 else code
        self._end("failed", error={"code": code, "message": message})
        return self._event("response.failed", response=self.response)

    def _end(self, status: str, **fields: Any) -> None:
        output = [self._items[index] for index in sorted(self._items)]
        self.response = self._head.response(status, output) | fields

    def _write(self, text: str, *, is_text: bool) -> bytes:
        out = b""
        if self._prose is None or self._prose.is_text != is_text:
            out = self._close(all_=False) + self._begin(is_text=is_text)
        prose = self._prose
        assert prose is not None  # begun just now
        prose.pieces.append(text)
        logprobs: dict[str, Any] = {"logprobs": []} if is_text else {}
        return out + self._event(f"response.{prose.kind}.delta", **prose.place(), delta=text, **logprobs)

    def _begin(self, *, is_text: bool) -> bytes:
        index = len(self._items)
        item_id = self._head.item_id("msg" if is_text else "rs", index)
        self._prose = prose = _Prose(index, item_id, is_text)
        added = self._item("added", index, prose.item("in_progress", []))
        return added + self._event("response.content_part.added", **prose.place(), part=prose.part(""))

    def _arguments(self, call: OpenCall, arguments: str) -> bytes:
        """Those of a custom tool wrap its text, and are told when they are whole."""
        if not arguments:
            return b""
        call.pieces.append(arguments)
        if call.name in self._head.names.custom:
            return b""
        return self._event(
            "response.function_call_arguments.delta",
            item_id=self._items[call.index]["id"],
            output_index=call.index,
            delta=arguments,
        )

    def _close(self, *, all_: bool, status: str = "completed") -> bytes:
        out = b""
        if self._prose is not None:
            out, self._prose = self._close_prose(self._prose, status), None
        for call in self._calls.closing(all_=all_):
            out += self._close_call(call, status)
        return out

    def _close_prose(self, prose: _Prose, status: str) -> bytes:
        text = "".join(prose.pieces)
        logprobs: dict[str, Any] = {"logprobs": []} if prose.is_text else {}
        return (
            self._event(f"response.{prose.kind}.done", **prose.place(), text=text, **logprobs)
            + self._event("response.content_part.done", **prose.place(), part=prose.part(text))
            + self._item("done", prose.index, prose.item(status, [prose.part(text)]))
        )

    def _close_call(self, call: OpenCall, status: str) -> bytes:
        out = b"" if call.pieces else self._arguments(call, "{}")  # a function without parameters
        arguments = call.arguments()
        whole = as_object(arguments) is not None
        item = self._call_item(call, "completed" if whole else status, arguments)
        place = {"item_id": item["id"], "output_index": call.index}
        if item["type"] == "custom_tool_call":
            kind, text = "response.custom_tool_call_input", item["input"]
            out += self._event(f"{kind}.delta", **place, delta=text)
            out += self._event(f"{kind}.done", **place, input=text)
        else:
            kind = "response.function_call_arguments.done"
            out += self._event(kind, **place, name=item["name"], arguments=arguments)
        return out + self._item("done", call.index, item)

    def _call_item(self, call: OpenCall, status: str, arguments: str) -> dict[str, Any]:
        names, index = self._head.names, call.index
        item: dict[str, Any] = {"call_id": call.call_id, "name": call.name, "status": status}
        if call.name in names.custom:
            text = custom_input(arguments)
            return {"id": self._head.item_id("ctc", index), "type": "custom_tool_call", "input": text} | item
        if call.name in names.namespaces:
            item["namespace"], item["name"] = names.namespaces[call.name]
        return {"id": self._head.item_id("fc", index), "type": "function_call", "arguments": arguments} | item

    def _item(self, what: str, index: int, item: dict[str, Any]) -> bytes:
        self._items[index] = item
        return self._event(f"response.output_item.{what}", output_index=index, item=item)

    def _event(self, kind: str, **fields: Any) -> bytes:
        data = {"type": kind, "sequence_number": self._sequence, **fields}
        self._sequence += 1
        return event(msgspec.json.encode(data), kind)


def _usage(usage: Usage) -> dict[str, Any]:
    read, written = usage.prompt_tokens or 0, usage.completion_tokens or 0
    return {
        "input_tokens": read,
        "input_tokens_details": {"cached_tokens": usage.cached_tokens, "cache_write_tokens": 0},
        "output_tokens": written,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": read + written,
    }
