"""Messages of a prompt → messages as the engine hands them to one particular chat template.

``epp.wire`` has done what does not depend on the template (see ``ChatPrompt.messages``). What does: content
becomes one string or a list of parts (:mod:`epp.tokenize.contentformat`), and a ``developer`` message
becomes part of the system message for a template that does not know that role. The rules are vLLM's
(0.32). As ``transformers`` does, fields whose value is null are left out and reasoning is given under all its
names.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from epp.core.requests import JsonObject
from epp.tokenize.contentformat import ContentFormat

Message: TypeAlias = dict[str, Any]

_MODALITIES = {
    "image_url": "image",
    "input_image": "image",
    "image_embeds": "image",
    "image_pil": "image",
    "audio_url": "audio",
    "input_audio": "audio",
    "audio_embeds": "audio",
    "video_url": "video",
    "video_embeds": "video",
}
"""What a template is told of a part that is no text."""


@dataclass(slots=True)
class MediaMark:
    """Puts ``text`` where the first part of a conversation stands that is no text."""

    text: str
    placed: bool = False

    def take(self) -> str | None:
        """The mark, the first time; None ever after."""
        if self.placed:
            return None
        self.placed = True
        return self.text


def conversation_for_template(
    messages: Sequence[JsonObject],
    content_format: ContentFormat,
    *,
    knows_developer: bool,
    mark: MediaMark | None = None,
) -> list[Message]:
    """The messages a template of this format is rendered with; ``messages`` are left as they are."""
    convert = _as_string if content_format is ContentFormat.STRING else _as_parts
    conversation: list[Message] = []
    for message in messages:
        made = {field: value for field, value in message.items() if value is not None}
        made["content"] = convert(made, mark)
        if "reasoning" in made:
            made.setdefault("thinking", made["reasoning"])
        conversation.append(made)
    if not knows_developer and any(message["role"] == "developer" for message in conversation):
        return _merge_system(conversation)
    return conversation


def join_system(messages: Sequence[JsonObject]) -> Sequence[JsonObject]:
    """All system messages as one, at the front (see ``ChatPrompt.joins_system``)."""
    system = [message for message in messages if message["role"] == "system"]
    if not system or (len(system) == 1 and messages[0] is system[0]):
        return messages
    joined = "".join(_text(message["content"]) for message in system)
    others = [message for message in messages if message["role"] != "system"]
    return [{"role": "system", "content": joined}, *others]


def _as_string(message: Message, mark: MediaMark | None) -> Any:
    content = message["content"]
    if isinstance(content, str):
        return content
    texts: list[str] = []
    for part in content:
        if part["type"] == "text":
            texts.append(part["text"])
        elif part["type"] == "tool_reference":
            texts.append(part["name"])
        elif mark is not None and (sign := mark.take()) is not None:
            texts.insert(0, sign)  # engines put the placeholders of media before all text of a message
    return "\n".join(texts)


def _as_parts(message: Message, mark: MediaMark | None) -> Any:
    content = message["content"]
    if isinstance(content, str):
        # results of tools stay strings: few templates expect them to be anything else
        return content if message["role"] == "tool" else [{"type": "text", "text": content}]
    return [_part(part, mark) for part in content]


def _part(part: JsonObject, mark: MediaMark | None) -> Message:
    if part["type"] in {"text", "tool_reference"}:
        return dict(part)
    if mark is not None and (sign := mark.take()) is not None:
        return {"type": "text", "text": sign}
    modality = _MODALITIES.get(part["type"])
    # vLLM refuses other kinds; an engine that does not may write anything, so no template need see them
    return {"type": "text", "text": ""} if modality is None else {"type": modality}


def _merge_system(conversation: list[Message]) -> list[Message]:
    """Developer messages become system messages, and several of those one, at the front."""
    for message in conversation:
        if message["role"] == "developer":
            message["role"] = "system"
            message.pop("tools", None)
    system = [message for message in conversation if message["role"] == "system"]
    if len(system) == 1 and conversation[0] is system[0]:
        return conversation
    texts = [text for message in system if (text := _text(message["content"]))]
    others = [message for message in conversation if message["role"] != "system"]
    return [{"role": "system", "content": "\n\n".join(texts)}, *others]


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "\n".join(part["text"] for part in content if "text" in part)
