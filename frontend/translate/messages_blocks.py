"""Content blocks of Anthropic's messages taken apart into chat messages.

A turn's text and images stay one message; its ``tool_use`` blocks become tool calls, ``thinking`` becomes
reasoning, and each ``tool_result`` a tool message of its own, before the rest of the turn.
"""

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from frontend.errors import ApiError, bad_request
from frontend.translate.fields import call, image_part, lone_text, reasoning_fields, text_part


class Source(msgspec.Struct, gc=False):
    """Where an image or a document comes from."""

    type: str
    media_type: str | None = None
    data: str | None = None
    url: str | None = None
    content: "str | list[Block] | None" = None


class Block(msgspec.Struct, gc=False):
    """A content block of any kind."""

    type: str
    text: str | None = None
    thinking: str | None = None
    id: str | None = None
    name: str | None = None
    input: msgspec.Raw = msgspec.field(default_factory=msgspec.Raw)
    tool_use_id: str | None = None
    content: "str | list[Block] | None" = None
    is_error: bool | None = None
    source: Source | None = None
    title: str | None = None
    tool_name: str | None = None


_UNSEEN: Final = frozenset({"redacted_thinking"})
"""Blocks that only who made them can read."""


class Turn:
    """One message while it is being taken apart."""

    def __init__(self, role: str, out: list[dict[str, Any]]) -> None:
        self._role = role
        self._out = out
        self._parts: list[dict[str, Any]] = []
        self._calls: list[dict[str, Any]] = []
        self._reasoning: list[str] = []

    def add(self, block: Block) -> None:
        """Take one block. Raises ApiError (400) for one that a chat request cannot hold."""
        kind = block.type
        if kind == "tool_use" and self._role == "assistant":
            self._calls.append(call(block.id or "", block.name or "", _arguments(block)))
        elif kind == "tool_result" and self._role == "user":
            self._add_result(block)
        elif kind == "thinking" and self._role == "assistant":
            self._reasoning.append(block.thinking or "")
        elif kind not in _UNSEEN:
            self._parts += _parts(block)

    def close(self) -> None:
        """Append the message; a user's turn of nothing but results has none of its own."""
        if self._role == "user" and not self._parts:
            return
        message: dict[str, Any] = {"role": self._role, "content": lone_text(self._parts) or None}
        if self._calls:
            message["tool_calls"] = self._calls
        if self._reasoning:
            message |= reasoning_fields("".join(self._reasoning))
        self._out.append(message)

    def _add_result(self, block: Block) -> None:
        """Tool messages hold text; images go to a user's message behind it."""
        texts: list[str] = []
        images: list[dict[str, Any]] = []
        references: list[dict[str, Any]] = []
        for item in _items(block.content):
            if item.type == "tool_reference":
                references.append({"type": "tool_reference", "name": item.tool_name or item.name})
                continue
            for part in _parts(item):
                if part["type"] == "text":
                    texts.append(part["text"])
                else:
                    images.append(part)
        text = "\n".join(texts) or ("error" if block.is_error else "")
        self._out.append(self._tool_message(block, text))
        if images:
            self._out.append({"role": "user", "content": images})
        if references:
            self._out.append(self._tool_message(block, references))

    @staticmethod
    def _tool_message(block: Block, content: str | list[dict[str, Any]]) -> dict[str, Any]:
        return {"role": "tool", "content": content, "tool_call_id": block.tool_use_id or ""}


def _items(content: str | list[Block] | None) -> list[Block]:
    if isinstance(content, str):
        return [Block(type="text", text=content)]
    return content or []


def _parts(block: Block) -> Iterator[dict[str, Any]]:
    """The text and images of a block; empty texts are none."""
    if block.type == "text":
        if block.text:
            yield text_part(block.text)
    elif block.type == "image":
        yield image_part(_image_url(block.source))
    elif block.type == "document":
        yield from _document(block)
    else:
        raise _refused(f"A content block of type `{block.type}`")


def _image_url(source: Source | None) -> str:
    if source is not None:
        if source.type == "url" and source.url:
            return source.url
        if source.type == "base64" and source.data is not None:
            return f"data:{source.media_type or 'image/png'};base64,{source.data}"
    raise _refused(f"An image source of type `{source.type if source else 'none'}`")


def _document(block: Block) -> Iterator[dict[str, Any]]:
    """A document that is text; others would have to be read first, which nobody here does."""
    source = block.source
    if source is not None and source.type == "text":
        yield from _parts(Block(type="text", text=source.data))
    elif source is not None and source.type == "content":
        for item in _items(source.content):
            yield from _parts(item)
    else:
        described = f"{source.type}` ({source.media_type})" if source and source.media_type else None
        raise _refused(f"A document source of type `{described or (source.type if source else 'none') + '`'}")


def _arguments(block: Block) -> str:
    """The input as the client wrote it, so that no number changes its digits."""
    raw = bytes(block.input)
    if raw in {b"", b"null"}:
        return "{}"
    if not raw.startswith(b"{"):
        raise bad_request(f"`input` of the `tool_use` block `{block.id}` must be an object.")
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise bad_request(f"`input` of the `tool_use` block `{block.id}` is not valid UTF-8.") from error


def _refused(what: str) -> ApiError:
    return bad_request(f"{what} is not supported here.")
