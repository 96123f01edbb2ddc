"""Message content in the one form that serves both kinds of chat template.

Engines hand content to a template either as a string (the text parts joined by newlines) or as a list of
typed parts, and find out which by inspecting the template (vLLM's content formats ``string`` and
``openai``). That is the tokenizer's business; here content stays a string if it was one, and otherwise
becomes a list whose text parts all read ``{"type": "text", "text": …}`` and whose images, sounds and videos
are bare markers (``{"type": "image_url"}``): their bytes, however large, are skipped and never copied.
"""

from collections.abc import Sequence
from typing import Any, Final, TypeAlias

import msgspec


class Part(msgspec.Struct, gc=False):
    """One content part of any API, as far as it is text."""

    type: str | None = None
    text: str | None = None
    refusal: str | None = None
    thinking: str | None = None
    name: str | None = None


Content: TypeAlias = str | list[Part | str] | None
"""Content as sent: a string, or parts, where a bare string is a text part."""
Normal: TypeAlias = str | list[dict[str, Any]]
"""Content in normal form."""

_TEXT_TYPES: Final = frozenset({"text", "input_text", "output_text"})
UNKNOWN: Final = "unknown"
"""Marker type of content that does not say what it is."""
_MATCHABLE: Final = frozenset({"text", "tool_reference"})
_BILLING_HEADER: Final = "x-anthropic-billing-header"


def normal_form(content: Content) -> Normal:
    """``content`` with every part in normal form; absent content is an empty list."""
    if isinstance(content, str):
        return content
    if content is None:
        return []
    normal: list[dict[str, Any]] = []
    for part in content:
        if isinstance(part, Part) and part.type == "text":  # nearly all; spares two calls
            if part.text is not None:
                normal.append({"type": "text", "text": part.text})
        elif (other := _normal_part(part)) is not None:
            normal.append(other)
    return normal


def has_media(content: Normal) -> bool:
    """True: some part cannot be matched as text."""
    return not isinstance(content, str) and not _MATCHABLE.issuperset([part["type"] for part in content])


def joined_text(parts: Sequence[dict[str, Any]]) -> str:
    """Text parts as engines join them for templates that want a string."""
    return "\n".join(part["text"] for part in parts)


def only_text(content: Normal) -> bool:
    """True: a string, or text parts alone."""
    return isinstance(content, str) or all(part["type"] == "text" for part in content)


def without_billing_header(content: Normal) -> Normal:
    """System content without the attribution line Claude Code puts first, as vLLM drops it.

    Its value changes with every request, so an engine that kept it would never reuse a prefix.
    """
    if isinstance(content, str):
        return (_below_header(content) or []) if has_billing_header(content) else content
    return [kept for part in content if (kept := _without_header(part)) is not None]


def has_billing_header(text: str) -> bool:
    """True: this block of an Anthropic system prompt is attribution, which vLLM drops whole."""
    return text.startswith(_BILLING_HEADER)


def _without_header(part: dict[str, Any]) -> dict[str, Any] | None:
    if part["type"] != "text" or not has_billing_header(part["text"]):
        return part
    return _text(_below_header(part["text"]) or None)


def _below_header(text: str) -> str:
    return text.partition("\n")[2]


def _normal_part(part: Part | str) -> dict[str, Any] | None:
    if isinstance(part, str):
        return {"type": "text", "text": part}
    kind = part.type
    if kind in _TEXT_TYPES:
        return _text(part.text)
    if kind == "refusal":
        return _text(part.refusal)
    if kind == "thinking":
        return _text(part.thinking)
    if kind == "tool_reference":
        return {"type": "tool_reference", "name": part.name}
    return {"type": kind or UNKNOWN}


def _text(text: str | None) -> dict[str, Any] | None:
    return None if text is None else {"type": "text", "text": text}
