"""The OpenAI Python SDK, unchanged, against a real process."""

import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest

MESSAGES: Any = [{"role": "user", "content": "What is a picker?"}]
TOOLS: Any = [
    {"type": "function", "function": {"name": "look_up", "parameters": {"type": "object", "properties": {}}}}
]


@pytest.fixture
def client(front: Any) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{front.url}/v1", api_key="none", max_retries=0, timeout=60) as made:
        yield made


def test_models(client: openai.OpenAI) -> None:
    (model,) = client.models.list().data
    assert model.id == "sim"
    assert client.models.retrieve("sim").object == "model"


def test_chat(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model="sim", messages=MESSAGES, max_tokens=5, temperature=0.5)
    assert answer.choices[0].message.content
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 5


def test_streams_are_the_whole_answer_with_usage(client: openai.OpenAI) -> None:
    whole = client.chat.completions.create(model="sim", messages=MESSAGES, max_tokens=8)
    chunks = list(
        client.chat.completions.create(
            model="sim", messages=MESSAGES, max_tokens=8, stream=True, stream_options={"include_usage": True}
        )
    )
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == whole.choices[0].message.content
    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 8


def test_tools_reach_the_engine_and_calls_come_back(scripted_front: Any, scripted: Any) -> None:
    function = {"name": "look_up", "arguments": '{"q":1}'}
    message = {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "c1", "type": "function", "function": function}],
    }
    choice = {"index": 0, "finish_reason": "tool_calls", "message": message}
    said = {"id": "x", "object": "chat.completion", "created": 1, "model": "scripted", "choices": [choice]}
    scripted.answers["/v1/chat/completions"] = (200, "application/json", json.dumps(said).encode())
    with openai.OpenAI(base_url=f"{scripted_front.url}/v1", api_key="none", timeout=60) as client:
        answer = client.chat.completions.create(
            model="scripted", messages=MESSAGES, tools=TOOLS, tool_choice="auto"
        )
    (made,) = answer.choices[0].message.tool_calls or ()
    assert made.model_dump()["function"] == function
    assert json.loads(scripted.last("/v1/chat/completions")[1])["tools"] == TOOLS


def test_completions(client: openai.OpenAI) -> None:
    answer = client.completions.create(model="sim", prompt="Once upon", max_tokens=4)
    assert answer.choices[0].text
    parts = client.completions.create(model="sim", prompt="Once upon", max_tokens=4, stream=True)
    assert "".join(part.choices[0].text for part in parts) == answer.choices[0].text


def test_embeddings(scripted_front: Any, scripted: Any) -> None:
    said = b'{"object":"list","model":"scripted","data":[{"object":"embedding","index":0,"embedding":[0.5]}],'
    said += b'"usage":{"prompt_tokens":1,"total_tokens":1}}'
    scripted.answers["/v1/embeddings"] = (200, "application/json", said)
    with openai.OpenAI(base_url=f"{scripted_front.url}/v1", api_key="none", timeout=60) as client:
        answer = client.embeddings.create(model="scripted", input="hi", encoding_format="float")
    assert answer.data[0].embedding == [0.5]


def test_nvext_fields_through_the_sdk(client: openai.OpenAI) -> None:
    extra = {"nvext": {"extra_fields": ["worker_id", "timing"]}}
    answer = client.chat.completions.create(
        model="sim", messages=MESSAGES, max_tokens=2, extra_body=extra
    ).model_dump()
    assert (
        answer["nvext"]["worker_id"]["prefill_worker_id"] == answer["nvext"]["worker_id"]["decode_worker_id"]
    )
    assert answer["nvext"]["timing"]["total_time_ms"] > 0


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        ({"model": "nobody"}, openai.NotFoundError, "Model not found"),
        ({"temperature": 9}, openai.BadRequestError, "Temperature must be between 0 and 2, got 9"),
        ({"messages": []}, openai.BadRequestError, "'messages' field cannot be empty"),
        ({"extra_body": {"bogus": 1}}, openai.BadRequestError, "Unsupported parameter(s): `bogus`"),
        ({"functions": [{"name": "f"}]}, openai.InternalServerError, "`functions` is deprecated"),
    ],
)
def test_errors_are_the_sdks_own(
    client: openai.OpenAI, changes: dict[str, Any], kind: type[openai.APIStatusError], message: str
) -> None:
    asked = {"model": "sim", "messages": MESSAGES, "max_tokens": 1, **changes}
    with pytest.raises(kind) as raised:
        client.chat.completions.create(**asked)
    assert message in raised.value.message
    assert isinstance(raised.value.body, dict)
    assert raised.value.body["code"] == raised.value.status_code
