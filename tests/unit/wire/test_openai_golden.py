"""Our chat form against the one vLLM itself made of the same bodies (tests/golden/requests)."""

import json
from pathlib import Path
from typing import Any

import pytest

from epp.core.requests import ChatPrompt
from epp.wire.openai import parse_request

GOLDEN = Path(__file__).parents[2] / "golden" / "requests" / "vllm_chat_form.json"
CASES = json.loads(GOLDEN.read_text(encoding="utf-8"))["cases"]
MODALITIES = {"image_url": "image", "input_image": "image", "input_audio": "audio"}
PART_FIELDS = ("type", "text", "name")
"""What of a part reaches templates through us; vLLM also passes keys it does not know."""


def read(case: dict[str, Any]) -> ChatPrompt:
    prompt = parse_request(case["path"], json.dumps(case["body"]).encode()).prompt
    assert isinstance(prompt, ChatPrompt)
    return prompt


def in_string_format(message: dict[str, Any]) -> dict[str, Any]:
    content = message["content"]
    if isinstance(content, str):
        return message
    texts = [part.get("text") or part.get("name") for part in content]
    return {**message, "content": "\n".join(text for text in texts if text is not None)}


def in_parts_format(message: dict[str, Any]) -> dict[str, Any]:
    content = message["content"]
    if message["role"] == "tool" and isinstance(content, str):
        return message
    if isinstance(content, str):
        return {**message, "content": [{"type": "text", "text": content}]}
    return {**message, "content": [{**p, "type": MODALITIES.get(p["type"], p["type"])} for p in content]}


def without_unknown_part_fields(message: dict[str, Any]) -> dict[str, Any]:
    content = message["content"]
    if isinstance(content, str):
        return message
    return {**message, "content": [{k: p[k] for k in PART_FIELDS if k in p} for p in content]}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_messages_equal_vllms_in_both_content_formats(case: dict[str, Any]) -> None:
    messages = [dict(message) for message in read(case).messages]
    assert [in_string_format(m) for m in messages] == case["string"]
    expected = [without_unknown_part_fields(m) for m in case["openai"]]
    assert [in_parts_format(m) for m in messages] == expected


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_tools_and_tool_calls_print_in_vllms_key_order(case: dict[str, Any]) -> None:
    prompt = read(case)
    assert json.dumps(prompt.tools) == json.dumps(case["tools"])
    ours = [message.get("tool_calls") for message in prompt.messages]
    assert json.dumps(ours) == json.dumps([message.get("tool_calls") for message in case["string"]])


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_template_variables_equal_vllms(case: dict[str, Any]) -> None:
    prompt = read(case)
    variables = {
        **prompt.template_kwargs,
        "add_generation_prompt": prompt.add_generation_prompt,
        "continue_final_message": prompt.continue_final_message,
    }
    if prompt.documents is not None:
        variables["documents"] = prompt.documents
    assert variables == case["kwargs"]


def test_media_are_flagged_exactly_where_a_part_is_no_text() -> None:
    flagged = {case["name"] for case in CASES if read(case).multimodal}
    assert flagged == {
        "image",
        "audio",
        "anthropic-image",
        "anthropic-tool-result-image",
        "responses-image",
    }
