"""Input items of the Responses API put together as chat messages."""

from typing import Any, Final

import msgspec

from frontend.errors import bad_request
from frontend.translate.fields import call, image_part, lone_text, reasoning_fields, text_part
from frontend.translate.responses_tools import joined


class Part(msgspec.Struct, gc=False):
    """A content part of any kind."""

    type: str
    text: str | None = None
    refusal: str | None = None
    image_url: str | None = None
    detail: str | None = None
    input_audio: msgspec.Raw = msgspec.field(default_factory=msgspec.Raw)


class Item(msgspec.Struct, gc=False):
    """An input item of any kind; ``type`` may be left out of messages."""

    type: str | None = None
    role: str | None = None
    content: str | list[Part] | None = None
    status: str | None = None
    call_id: str | None = None
    name: str | None = None
    namespace: str | None = None
    arguments: str | None = None
    input: str | None = None
    output: str | list[Part] | None = None
    summary: list[Part] | None = None


_ROLES: Final = frozenset({"user", "assistant", "system", "developer"})
_TEXTS: Final = frozenset({"input_text", "output_text", "text", "summary_text", "reasoning_text"})
_UNFINISHED: Final = frozenset({"in_progress", "incomplete"})


class Conversation:
    """Chat messages while items are added to them."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        self.unfinished = False
        """The last item is a message that the model is to go on writing."""

    def say(self, role: str, content: str | list[dict[str, Any]]) -> None:
        """A message of its own."""
        self.messages.append({"role": role, "content": content})

    def add(self, item: Item) -> None:
        """The next item. Raises ApiError (400) for one that a chat request cannot hold."""
        kind = item.type or "message"
        self.unfinished = item.status in _UNFINISHED and kind in {"message", "reasoning"}
        if kind == "message":
            self._add_message(item)
        elif kind in {"function_call", "custom_tool_call"}:
            self._assistant().setdefault("tool_calls", []).append(_call(item))
        elif kind in {"function_call_output", "custom_tool_call_output"}:
            self._add_output(item)
        elif kind == "reasoning":
            text = _joined(item.content) or _joined(item.summary)
            self._assistant("reasoning").update(reasoning_fields(text))
        else:
            raise bad_request(f"An input item of type `{kind}` is not supported here.")

    def _add_message(self, item: Item) -> None:
        if item.role not in _ROLES:
            raise bad_request(f"`role` of an input message cannot be `{item.role}`.")
        if item.role != "assistant":
            self.say(item.role, _content(item.content))
        elif item.content:
            self._assistant("content")["content"] = lone_text(_parts(item.content))

    def _add_output(self, item: Item) -> None:
        message = {"role": "tool", "content": _content(item.output), "tool_call_id": item.call_id or ""}
        self.messages.append(message)

    def _assistant(self, field: str | None = None) -> dict[str, Any]:
        """The assistant message being put together; a new one if it has ``field`` already."""
        last = self.messages[-1] if self.messages else None
        if last is None or last["role"] != "assistant" or (field is not None and last.get(field) is not None):
            last = {"role": "assistant", "content": None}
            self.messages.append(last)
        return last


def _call(item: Item) -> dict[str, Any]:
    name, call_id = item.name or "", item.call_id or ""
    if item.type == "custom_tool_call":
        return call(call_id, name, msgspec.json.encode({"input": item.input or ""}).decode())
    return call(call_id, joined(item.namespace, name), item.arguments or "{}")


def _content(content: str | list[Part] | None) -> str | list[dict[str, Any]]:
    return content if isinstance(content, str) else _parts(content)


def _parts(content: str | list[Part] | None) -> list[dict[str, Any]]:
    if isinstance(content, str):
        return [text_part(content)]
    return [_part(part) for part in content or ()]


def _part(part: Part) -> dict[str, Any]:
    kind = part.type
    if kind in _TEXTS:
        return text_part(part.text or "")
    if kind == "refusal":
        return text_part(part.refusal or "")
    if kind == "input_image" and part.image_url:
        return image_part(part.image_url, part.detail)
    if kind == "input_audio" and bytes(part.input_audio):
        return {"type": "input_audio", "input_audio": part.input_audio}
    raise bad_request(f"A content part of type `{kind}` is not supported here, or lacks its content.")


def _joined(content: str | list[Part] | None) -> str:
    return "".join(str(part.get("text", "")) for part in _parts(content))
