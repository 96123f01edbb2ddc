"""What the picker reads in a request of another API and in its translation is the same prompt.

Behind a gateway the picker sees the first and the engine gets the second, so any difference costs prefix
matches. Those that remain are listed in docs/translation.md.
"""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from epp.core.requests import ChatPrompt, InferenceRequest
from epp.wire.openai.parse import parse_request
from frontend.body import Body
from frontend.translate import messages_request, responses_request


def _parsed(path: str, body: Body) -> InferenceRequest:
    request = parse_request(path, body.encode())
    assert isinstance(request.prompt, ChatPrompt)
    return request


def messages_agree(**fields: Any) -> None:
    body = Body.of({"model": "m", "max_tokens": 16} | fields)
    before = _parsed("/v1/messages", body)
    chat = messages_request.chat_request(body, strip_preamble=True)
    after = _parsed("/v1/chat/completions", Body.of(chat))
    assert isinstance(before.prompt, ChatPrompt)
    assert after.prompt == replace(before.prompt, joins_system=False, tools=before.prompt.tools or None)
    assert after.max_output_tokens == before.max_output_tokens


def responses_agree(**fields: Any) -> None:
    body = Body.of({"model": "m"} | fields)
    before = _parsed("/v1/responses", body)
    after = _parsed("/v1/chat/completions", Body.of(responses_request.chat_request(body)[0]))
    assert isinstance(before.prompt, ChatPrompt)
    assert after.prompt == replace(before.prompt, messages=_images_by_chat_name(before.prompt.messages))
    assert after.max_output_tokens == before.max_output_tokens


def _images_by_chat_name(messages: Any) -> Any:
    """Markers of what cannot be matched go by each API's own name."""
    return msgspec.json.decode(msgspec.json.encode(messages).replace(b'"input_image"', b'"image_url"'))


TEXT = st.text(st.characters(codec="utf-8"), max_size=6)
SOME_TEXT = st.text(st.characters(codec="utf-8"), min_size=1, max_size=6)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
OBJECT = st.dictionaries(TEXT, JSON, max_size=3)
BLOCK_TEXT = st.fixed_dictionaries({"type": st.just("text"), "text": TEXT})
IMAGE = st.just({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "QUJD"}})
RESULT = st.fixed_dictionaries(
    {
        "type": st.just("tool_result"),
        "tool_use_id": TEXT,
        "content": st.none()
        | TEXT
        | st.lists(st.one_of(BLOCK_TEXT.filter(lambda b: bool(b["text"])), IMAGE), max_size=3),
    }
)
USER = st.fixed_dictionaries(
    {
        "role": st.just("user"),
        "content": TEXT | st.lists(st.one_of(BLOCK_TEXT, IMAGE, RESULT), max_size=4),
    }
)
ASSISTANT = st.fixed_dictionaries(
    {
        "role": st.just("assistant"),
        "content": TEXT
        | st.lists(
            st.one_of(
                BLOCK_TEXT,
                st.fixed_dictionaries({"type": st.just("thinking"), "thinking": TEXT}),
                st.fixed_dictionaries(
                    {"type": st.just("tool_use"), "id": TEXT, "name": TEXT, "input": OBJECT}
                ),
            ),
            max_size=4,
        ),
    }
)
FIRST = st.just({"role": "user", "content": "Hello"})
SYSTEM = st.none() | TEXT | st.just("x-anthropic-billing-header: 1;\nHi") | st.lists(BLOCK_TEXT, max_size=3)
MESSAGES_TOOL = st.fixed_dictionaries(
    {"name": TEXT, "input_schema": OBJECT},
    optional={"description": TEXT, "strict": st.booleans(), "defer_loading": st.booleans()},
)


@given(
    first=FIRST,
    rest=st.lists(st.one_of(USER, ASSISTANT), max_size=4),
    system=SYSTEM,
    tools=st.none() | st.lists(MESSAGES_TOOL, max_size=2),
    thinking=st.sampled_from([None, {"type": "disabled"}, {"type": "adaptive"}]),
    output_config=st.sampled_from([None, {"effort": "high"}]),
)
def test_messages(first: Any, rest: list[Any], **fields: Any) -> None:
    messages_agree(messages=[first, *rest], **fields)


def test_messages_with_references_to_tools() -> None:
    reference = {"type": "tool_reference", "tool_name": "f"}
    result = {"type": "tool_result", "tool_use_id": "t", "content": [reference]}
    messages_agree(messages=[{"role": "user", "content": [result]}])


def test_messages_with_a_later_system_message() -> None:
    later = {"role": "system", "content": [{"type": "text", "text": "now"}, {"type": "text", "text": "!"}]}
    messages_agree(system="first", messages=[{"role": "user", "content": "a"}, later])


def one_part(kind: str) -> st.SearchStrategy[list[dict[str, Any]]]:
    return st.fixed_dictionaries({"type": st.just(kind), "text": SOME_TEXT}).map(lambda part: [part])


ITEMS = st.one_of(
    st.fixed_dictionaries(
        {
            "role": st.sampled_from(["user", "system", "developer"]),
            "content": TEXT
            | st.lists(
                st.one_of(
                    st.fixed_dictionaries({"type": st.just("input_text"), "text": TEXT}),
                    st.just({"type": "input_image", "image_url": "http://x"}),
                ),
                max_size=3,
            ),
        },
        optional={"type": st.just("message")},
    ),
    st.fixed_dictionaries(
        {
            "type": st.just("message"),
            "role": st.just("assistant"),
            "content": SOME_TEXT | one_part("output_text"),
        },
        optional={"status": st.sampled_from(["completed", "incomplete"])},
    ),
    st.fixed_dictionaries(
        {"type": st.just("reasoning"), "summary": st.just([]), "content": one_part("reasoning_text")}
    ),
    st.fixed_dictionaries(
        {"type": st.just("reasoning"), "summary": one_part("summary_text")},
    ),
    st.fixed_dictionaries(
        {
            "type": st.just("function_call"),
            "call_id": TEXT,
            "name": TEXT,
            "arguments": OBJECT.map(lambda value: msgspec.json.encode(value).decode()) | TEXT,
        }
    ),
    st.fixed_dictionaries(
        {"type": st.just("custom_tool_call"), "call_id": TEXT, "name": TEXT, "input": TEXT}
    ),
    st.fixed_dictionaries(
        {
            "type": st.sampled_from(["function_call_output", "custom_tool_call_output"]),
            "call_id": TEXT,
            "output": TEXT
            | st.lists(st.fixed_dictionaries({"type": st.just("input_text"), "text": TEXT}), max_size=2),
        }
    ),
)
FUNCTION = st.fixed_dictionaries(
    {"type": st.just("function"), "name": SOME_TEXT},
    optional={"description": TEXT, "parameters": OBJECT, "strict": st.booleans()},
)
RESPONSES_TOOL = st.one_of(
    FUNCTION,
    st.fixed_dictionaries({"type": st.just("custom"), "name": SOME_TEXT}, optional={"description": TEXT}),
    st.fixed_dictionaries(
        {"type": st.just("namespace"), "name": SOME_TEXT, "tools": st.lists(FUNCTION, min_size=1, max_size=2)}
    ),
)


@given(
    given_input=SOME_TEXT | st.lists(ITEMS, min_size=1, max_size=5),
    instructions=st.none() | TEXT,
    tools=st.none() | st.lists(RESPONSES_TOOL, max_size=2),
    reasoning=st.sampled_from([None, {"effort": "high"}]),
    limit=st.none() | st.integers(1, 100),
)
def test_responses(given_input: Any, limit: int | None, **fields: Any) -> None:
    responses_agree(input=given_input, max_output_tokens=limit, **fields)


@pytest.mark.parametrize("thinking", [{"type": "enabled", "budget_tokens": 1024}])
def test_thinking_that_is_asked_for_differs_in_template_variables_alone(thinking: dict[str, Any]) -> None:
    body = Body.of(
        {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "a"}], "thinking": thinking}
    )
    before = _parsed("/v1/messages", body).prompt
    chat = Body.of(messages_request.chat_request(body, strip_preamble=True))
    after = _parsed("/v1/chat/completions", chat).prompt
    assert isinstance(before, ChatPrompt)
    assert isinstance(after, ChatPrompt)
    assert after.template_kwargs == {"enable_thinking": True, "thinking": True, "thinking_budget": 1024}
    assert replace(after, template_kwargs={}) == replace(before, joins_system=False)


GOLDEN = Path(__file__).parents[3] / "golden" / "requests" / "vllm_chat_form.json"
"""What vLLM itself made of bodies; the file says how it was recorded."""
DIFFERENT = {
    "anthropic-assistant-result": "refused: Anthropic's API has results in user turns alone",
    "responses-output-message": "vLLM shows the first text of an answer alone, the translation all of them",
}
CASES = [
    case
    for case in json.loads(GOLDEN.read_text(encoding="utf-8"))["cases"]
    if case["path"] in {"/v1/messages", "/v1/responses"} and case["name"] not in DIFFERENT
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_recorded_bodies(case: dict[str, Any]) -> None:
    fields = {name: value for name, value in case["body"].items() if name != "model"}
    if "tools" in fields:  # a tool of the engine's own is refused, and is in no prompt
        fields["tools"] = [tool for tool in fields["tools"] if tool.get("type") != "web_search"]
    if case["path"] == "/v1/messages":
        messages_agree(**fields)
    else:
        responses_agree(**fields)
