from typing import Any

import msgspec
import pytest

from frontend.body import Body
from frontend.errors import ApiError
from frontend.translate.responses_request import chat_request, echo


def chat(**fields: Any) -> dict[str, Any]:
    body = Body.of({"model": "m", "input": "Hello"} | fields)
    decoded: dict[str, Any] = msgspec.json.decode(Body.of(chat_request(body)[0]).encode())
    return decoded


def messages(*items: dict[str, Any], **fields: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = chat(input=list(items), **fields)["messages"]
    return found


def test_a_string_is_what_the_user_says() -> None:
    assert chat() == {"model": "m", "messages": [{"role": "user", "content": "Hello"}]}
    assert chat(instructions="Be kind.")["messages"][0] == {"role": "system", "content": "Be kind."}


def test_parts() -> None:
    said = messages(
        {
            "role": "user",
            "content": [
                {"type": "input_text", "text": "what?"},
                {"type": "input_image", "image_url": "http://x", "detail": "low"},
            ],
        }
    )
    image = {"type": "image_url", "image_url": {"url": "http://x", "detail": "low"}}
    assert said[0]["content"] == [{"type": "text", "text": "what?"}, image]


def test_reasoning_text_and_calls_are_one_message() -> None:
    said = messages(
        {"role": "user", "content": "weather?"},
        {
            "type": "reasoning",
            "id": "rs",
            "summary": [],
            "content": [{"type": "reasoning_text", "text": "Hm"}],
        },
        {
            "type": "message",
            "role": "assistant",
            "id": "msg",
            "status": "completed",
            "content": [{"type": "output_text", "text": "I look", "annotations": []}],
        },
        {"type": "function_call", "call_id": "a", "name": "f", "arguments": '{"x":1}'},
        {"type": "function_call", "call_id": "b", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "a", "output": "sunny"},
        {"type": "function_call_output", "call_id": "b", "output": [{"type": "input_text", "text": "wet"}]},
    )
    assert [message["role"] for message in said] == ["user", "assistant", "tool", "tool"]
    assert said[1]["content"] == "I look"
    assert said[1]["reasoning"] == said[1]["reasoning_content"] == "Hm"
    assert [call["id"] for call in said[1]["tool_calls"]] == ["a", "b"]
    assert said[2] == {"role": "tool", "tool_call_id": "a", "content": "sunny"}


def test_an_unfinished_message_is_continued() -> None:
    item = {"type": "message", "role": "assistant", "status": "incomplete", "content": "Once upon"}
    told = chat(input=[{"role": "user", "content": "tell"}, item])
    assert (told["add_generation_prompt"], told["continue_final_message"]) == (False, True)


def test_options() -> None:
    told = chat(
        max_output_tokens=5,
        temperature=0.5,
        top_p=0.9,
        parallel_tool_calls=False,
        reasoning={"effort": "low", "summary": "auto"},
        store=True,
        truncation="auto",
        stream=True,
    )
    assert {name: value for name, value in told.items() if name != "messages"} == {
        "model": "m",
        "temperature": 0.5,
        "top_p": 0.9,
        "max_tokens": 5,
        "parallel_tool_calls": False,
        "reasoning_effort": "low",
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def test_tools_and_choice() -> None:
    tool = {
        "type": "function",
        "name": "f",
        "description": "d",
        "parameters": {"type": "object"},
        "strict": True,
    }
    told = chat(tools=[tool], tool_choice={"type": "function", "name": "f"})
    function = {"name": "f", "description": "d", "parameters": {"type": "object"}, "strict": True}
    assert told["tools"] == [{"type": "function", "function": function}]
    assert told["tool_choice"] == {"type": "function", "function": {"name": "f"}}
    assert chat(tool_choice="required")["tool_choice"] == "required"


def test_custom_tools_and_namespaces_are_functions() -> None:
    custom = {"type": "custom", "name": "patch", "description": "d"}
    inner = {"type": "function", "name": "f", "parameters": {"type": "object"}}
    told = chat(tools=[custom, {"type": "namespace", "name": "ns", "tools": [inner]}])
    patch, joined = [tool["function"] for tool in told["tools"]]
    assert patch["name"] == "patch"
    assert patch["parameters"]["required"] == ["input"]
    assert joined == {"name": "ns__f", "parameters": {"type": "object"}}


def test_calls_of_custom_tools_and_namespaces() -> None:
    said = messages(
        {"type": "custom_tool_call", "call_id": "a", "name": "patch", "input": "+ x"},
        {"type": "function_call", "call_id": "b", "namespace": "ns", "name": "f", "arguments": "{}"},
        {"type": "custom_tool_call_output", "call_id": "a", "output": "ok"},
    )
    functions = [call["function"] for call in said[0]["tool_calls"]]
    assert functions == [
        {"name": "patch", "arguments": '{"input":"+ x"}'},
        {"name": "ns__f", "arguments": "{}"},
    ]
    assert said[1]["content"] == "ok"


def test_the_form_of_the_answer() -> None:
    form = {"type": "json_schema", "name": "n", "schema": {"type": "object"}, "strict": True}
    assert chat(text={"format": form})["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "n", "schema": {"type": "object"}, "strict": True},
    }
    assert chat(text={"format": {"type": "json_object"}})["response_format"] == {"type": "json_object"}
    assert "response_format" not in chat(text={"format": {"type": "text"}})


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"background": True}, "background"),
        ({"prompt": {"id": "p"}}, "prompt"),
        ({"input": []}, "input"),
        ({"input": None}, "input"),
        ({"input": [{"type": "item_reference", "id": "x"}]}, "item_reference"),
        ({"input": [{"type": "computer_call"}]}, "computer_call"),
        ({"input": [{"role": "user", "content": [{"type": "input_file", "file_id": "f"}]}]}, "input_file"),
        ({"input": [{"role": "user", "content": [{"type": "input_image", "file_id": "f"}]}]}, "input_image"),
        ({"tools": [{"type": "web_search_preview"}]}, "web_search_preview"),
        ({"tools": [{"type": "function"}]}, "name"),
        ({"tools": [{"type": "namespace", "name": "n", "tools": [{"type": "mcp"}]}]}, "mcp"),
        ({"tool_choice": {"type": "mcp", "server_label": "x"}}, "mcp"),
        ({"text": {"format": {"type": "grammar"}}}, "grammar"),
    ],
)
def test_what_cannot_be_had_is_refused_by_name(fields: dict[str, Any], named: str) -> None:
    with pytest.raises(ApiError, match=named) as raised:
        chat(**fields)
    assert raised.value.status == 400


def test_a_response_repeats_what_was_asked() -> None:
    told = msgspec.json.decode(
        msgspec.json.encode(echo(Body.of({"tools": [{"type": "x"}], "metadata": None})))
    )
    assert told["tools"] == [{"type": "x"}]
    assert told["metadata"] == {}
    assert told["tool_choice"] == "auto"
