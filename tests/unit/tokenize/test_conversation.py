"""Messages in the form a template wants: vLLM's own results, and the rules one by one."""

import json
from pathlib import Path
from typing import Any

import pytest

from epp.core.requests import ChatPrompt
from epp.tokenize.contentformat import ContentFormat
from epp.tokenize.conversation import MediaMark, conversation_for_template
from epp.wire.openai import parse_request

_GOLDEN = Path(__file__).parents[2] / "golden" / "requests" / "vllm_chat_form.json"
_CASES = json.loads(_GOLDEN.read_text(encoding="utf-8"))["cases"]


def _expected(message: dict[str, Any]) -> dict[str, Any]:
    """vLLM's message after transformers' own steps, with only the fields of parts that templates read."""
    made = {field: value for field, value in message.items() if value is not None}
    if "reasoning" in made:
        made["thinking"] = made["reasoning"]
    if not isinstance(made["content"], str):
        made["content"] = [
            {key: part[key] for key in ("type", "text", "name") if key in part} for part in made["content"]
        ]
    return made


@pytest.mark.parametrize("content_format", list(ContentFormat))
@pytest.mark.parametrize("case", _CASES, ids=lambda case: case["name"])
def test_requests_become_what_vllm_makes_of_them(case: dict[str, Any], content_format: ContentFormat) -> None:
    prompt = parse_request(case["path"], json.dumps(case["body"]).encode()).prompt
    assert isinstance(prompt, ChatPrompt)
    before = json.dumps(prompt.messages)
    got = conversation_for_template(prompt.messages, content_format, knows_developer=True)
    assert got == [_expected(message) for message in case[content_format]]
    assert json.dumps(prompt.messages) == before


def _convert(messages: list[dict[str, Any]], content_format: ContentFormat = ContentFormat.STRING) -> Any:
    return conversation_for_template(messages, content_format, knows_developer=False)


def test_developer_messages_join_the_system_message() -> None:
    messages = [
        {"role": "system", "content": "One."},
        {"role": "user", "content": "x"},
        {"role": "developer", "content": "Two.", "tools": [{"name": "t"}]},
    ]
    expected = [{"role": "system", "content": "One.\n\nTwo."}, {"role": "user", "content": "x"}]
    assert _convert(messages) == expected
    joined = _convert(messages, ContentFormat.PARTS)
    assert joined == [expected[0], {"role": "user", "content": [{"type": "text", "text": "x"}]}]


def test_a_first_developer_message_alone_just_changes_its_role() -> None:
    messages = [{"role": "developer", "content": "Rule."}, {"role": "user", "content": "x"}]
    assert _convert(messages)[0] == {"role": "system", "content": "Rule."}
    assert messages[0]["role"] == "developer"


def test_without_developer_messages_several_system_messages_stay() -> None:
    messages = [
        {"role": "system", "content": "a"},
        {"role": "user", "content": "b"},
        {"role": "system", "content": "c"},
    ]
    assert _convert(messages) == messages


_MEDIA = [{"type": "text", "text": "a"}, {"type": "image_url"}, {"type": "video_url"}]


@pytest.mark.parametrize(
    ("content_format", "content"),
    [
        (ContentFormat.STRING, "MARK\na"),
        (
            ContentFormat.PARTS,
            [{"type": "text", "text": "a"}, {"type": "text", "text": "MARK"}, {"type": "video"}],
        ),
    ],
)
def test_the_mark_stands_for_the_first_medium_of_the_conversation(
    content_format: ContentFormat, content: Any
) -> None:
    mark = MediaMark("MARK")
    messages = [{"role": "user", "content": _MEDIA}] * 2
    got = conversation_for_template(messages, content_format, knows_developer=True, mark=mark)
    assert mark.placed
    assert got[0]["content"] == content
    assert "MARK" not in str(got[1])
