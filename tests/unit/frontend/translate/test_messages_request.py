from typing import Any

import msgspec
import pytest

from frontend.body import Body
from frontend.errors import ApiError
from frontend.translate.messages_request import chat_request

HELLO = [{"role": "user", "content": "Hello"}]


def chat(strip: bool = True, **fields: Any) -> dict[str, Any]:
    body = Body.of({"model": "m", "max_tokens": 10, "messages": HELLO} | fields)
    decoded: dict[str, Any] = msgspec.json.decode(Body.of(chat_request(body, strip_preamble=strip)).encode())
    return decoded


def messages(*content: dict[str, Any], role: str = "user") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = chat(messages=[{"role": role, "content": list(content)}])["messages"]
    return found


def test_a_plain_request() -> None:
    assert chat() == {"model": "m", "max_tokens": 10, "messages": HELLO}


def test_sampling_and_the_user_pass() -> None:
    told = chat(
        temperature=0.5, top_p=0.9, top_k=5, stop_sequences=["END"], metadata={"user_id": "u"}, seed=1
    )
    assert {name: told[name] for name in ("temperature", "top_p", "top_k", "stop", "user", "seed")} == {
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": 5,
        "stop": ["END"],
        "user": "u",
        "seed": 1,
    }


def test_a_stream_asks_for_usage() -> None:
    told = chat(stream=True)
    assert told["stream"] is True
    assert told["stream_options"] == {"include_usage": True}
    assert "stream_options" not in chat(stream=False)


def test_routing_fields_pass() -> None:
    given = {"nvext": {"annotations": ["x"]}, "cache_salt": "s", "priority": 3}
    assert given.items() <= chat(**given).items()


PREAMBLE = "x-anthropic-billing-header: cc_version=1; cch=a1;"


@pytest.mark.parametrize(
    ("system", "expected"),
    [
        ("Be kind.", "Be kind."),
        ([{"type": "text", "text": "Be "}, {"type": "text", "text": "kind."}], "Be kind."),
        (f"{PREAMBLE}\nBe kind.", "Be kind."),
        ([{"type": "text", "text": PREAMBLE}, {"type": "text", "text": "Be kind."}], "Be kind."),
    ],
)
def test_the_system_prompt_comes_first_without_its_preamble(system: Any, expected: str) -> None:
    assert chat(system=system)["messages"][0] == {"role": "system", "content": expected}


def test_the_preamble_stays_when_it_is_to() -> None:
    assert chat(strip=False, system=f"{PREAMBLE}\nHi")["messages"][0]["content"] == f"{PREAMBLE}\nHi"


def test_images_become_urls() -> None:
    data = {"type": "base64", "media_type": "image/png", "data": "QUJD"}
    url = {"type": "url", "url": "http://x/y.png"}
    said = messages(
        {"type": "image", "source": data},
        {"type": "image", "source": url},
        {"type": "text", "text": "what?"},
    )
    assert said == [
        {
            "role": "user",
            "content": [
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,QUJD"}},
                {"type": "image_url", "image_url": {"url": "http://x/y.png"}},
                {"type": "text", "text": "what?"},
            ],
        }
    ]


def test_an_assistant_turn_with_thinking_and_calls() -> None:
    said = messages(
        {"type": "thinking", "thinking": "Hm", "signature": "s"},
        {"type": "redacted_thinking", "data": "x"},
        {"type": "text", "text": "I look"},
        {"type": "tool_use", "id": "t1", "name": "f", "input": {"x": 1.0}},
        role="assistant",
    )
    function = {"name": "f", "arguments": '{"x":1.0}'}
    assert said == [
        {
            "role": "assistant",
            "content": "I look",
            "tool_calls": [{"id": "t1", "type": "function", "function": function}],
            "reasoning": "Hm",
            "reasoning_content": "Hm",
        }
    ]


def test_results_go_before_the_rest_of_their_turn() -> None:
    image = {"type": "image", "source": {"type": "url", "url": "http://x"}}
    said = messages(
        {"type": "text", "text": "and now?"},
        {"type": "tool_result", "tool_use_id": "t1", "content": "sunny"},
        {"type": "tool_result", "tool_use_id": "t2", "content": [{"type": "text", "text": "a"}, image]},
        {"type": "tool_result", "tool_use_id": "t3", "is_error": True},
    )
    assert [(m["role"], m.get("tool_call_id"), m["content"]) for m in said] == [
        ("tool", "t1", "sunny"),
        ("tool", "t2", "a"),
        ("user", None, [{"type": "image_url", "image_url": {"url": "http://x"}}]),
        ("tool", "t3", "error"),
        ("user", None, "and now?"),
    ]


def test_documents_that_are_text_are_text() -> None:
    plain = {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "abc"}}
    blocks = {"type": "document", "source": {"type": "content", "content": [{"type": "text", "text": "d"}]}}
    assert messages(plain, blocks)[0]["content"] == [
        {"type": "text", "text": "abc"},
        {"type": "text", "text": "d"},
    ]


def test_tools() -> None:
    tools = [
        {"name": "f", "description": "d", "input_schema": {"type": "object", "properties": {"x": {}}}},
        {"name": "g", "type": "custom", "input_schema": {"properties": {}}, "strict": True},
    ]
    assert [tool["function"] for tool in chat(tools=tools)["tools"]] == [
        {"name": "f", "description": "d", "parameters": {"type": "object", "properties": {"x": {}}}},
        {"name": "g", "parameters": {"properties": {}, "type": "object"}, "strict": True},
    ]


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ({"type": "auto"}, {"tool_choice": "auto"}),
        ({"type": "any"}, {"tool_choice": "required"}),
        ({"type": "none"}, {"tool_choice": "none"}),
        ({"type": "tool", "name": "f"}, {"tool_choice": {"type": "function", "function": {"name": "f"}}}),
        (
            {"type": "auto", "disable_parallel_tool_use": True},
            {"tool_choice": "auto", "parallel_tool_calls": False},
        ),
    ],
)
def test_tool_choice(choice: dict[str, Any], expected: dict[str, Any]) -> None:
    assert expected.items() <= chat(tool_choice=choice).items()


def test_thinking_opts_in_unless_the_client_spoke_of_it() -> None:
    asked = {"type": "enabled", "budget_tokens": 1024}
    variables = {"enable_thinking": True, "thinking": True, "thinking_budget": 1024}
    assert chat(thinking=asked)["chat_template_kwargs"] == variables
    kwargs = {"enable_thinking": False}
    assert (
        chat(thinking=asked, chat_template_kwargs=kwargs)["chat_template_kwargs"]["enable_thinking"] is False
    )
    assert chat(thinking={"type": "disabled"})["reasoning_effort"] == "none"
    assert chat(output_config={"effort": "low"})["reasoning_effort"] == "low"


def test_the_form_of_the_answer() -> None:
    schema = {"type": "object", "properties": {}}
    form = chat(output_config={"format": {"type": "json_schema", "schema": schema}})["response_format"]
    assert form["json_schema"]["schema"] == schema


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"max_tokens": None}, "max_tokens"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "robot"),
        ({"messages": [{"role": "user", "content": 7}]}, "messages"),
        ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "web_search_20250305"),
        ({"mcp_servers": [{"type": "url"}]}, "mcp_servers"),
        ({"tool_choice": {"type": "tool"}}, "tool"),
        ({"output_config": {"format": {"type": "xml"}}}, "xml"),
    ],
)
def test_what_cannot_be_had_is_refused_by_name(fields: dict[str, Any], named: str) -> None:
    with pytest.raises(ApiError, match=named) as raised:
        chat(**fields)
    assert raised.value.status == 400


@pytest.mark.parametrize(
    ("block", "named"),
    [
        ({"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}}, "server_tool_use"),
        (
            {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": ""}},
            "application/pdf",
        ),
        ({"type": "document", "source": {"type": "url", "url": "http://x"}}, "url"),
        ({"type": "image", "source": {"type": "file", "file_id": "f"}}, "file"),
        ({"type": "tool_use", "id": "t", "name": "f", "input": {}}, "tool_use"),
    ],
)
def test_blocks_without_a_place_are_refused_by_name(block: dict[str, Any], named: str) -> None:
    with pytest.raises(ApiError, match=named):
        messages(block)


def test_inputs_that_are_no_object_are_refused() -> None:
    with pytest.raises(ApiError, match="must be an object"):
        messages({"type": "tool_use", "id": "t", "name": "f", "input": [1]}, role="assistant")


def test_inputs_keep_their_bytes() -> None:
    raw = (
        b'{"model":"m","max_tokens":1,"messages":[{"role":"assistant","content":[{"type":"tool_use","id":"t",'
    )
    raw += b'"name":"f","input":{"n": 1e400, "m": 123456789012345678901234567890}}]}]}'
    told = Body.of(chat_request(Body(raw), strip_preamble=True)).encode()
    assert b"123456789012345678901234567890" in told
    assert b"1e400" in told
