"""OpenAI's own client for the Responses API and its typed streams, unchanged."""

from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI
from openai.types.responses import ResponseFunctionToolCall, ResponseOutputMessage, ResponseReasoningItem
from pydantic import BaseModel

from tests.integration.frontend.translate.conftest import ScriptedEngine
from tests.unit.frontend.translate import said

WEATHER: Any = {
    "type": "function",
    "name": "weather",
    "description": "The weather of a city",
    "strict": True,
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


@pytest.fixture
async def client(engine: ScriptedEngine) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(base_url=engine.base_url + "/v1", api_key="k", max_retries=0) as client:
        yield client


async def test_a_stream_with_reasoning_text_and_two_tools(
    client: AsyncOpenAI, engine: ScriptedEngine
) -> None:
    engine.chunks = said.TWO_CALLS
    async with client.responses.stream(model="m", input="Weather?", tools=[WEATHER]) as stream:
        events = [event async for event in stream]
        response = await stream.get_final_response()
    assert response.output_text == "I look it up."
    thought, message, first, second = response.output
    assert isinstance(thought, ResponseReasoningItem)
    assert thought.content is not None
    assert thought.content[0].text == "Let me see."
    assert isinstance(message, ResponseOutputMessage)
    assert isinstance(first, ResponseFunctionToolCall)
    assert isinstance(second, ResponseFunctionToolCall)
    assert (first.call_id, first.arguments) == ("call_a", '{"city": "Oslo"}')
    assert (second.call_id, second.arguments) == ("call_b", '{"city": "Rome"}')
    assert response.status == "completed"
    assert response.usage is not None
    assert response.usage.input_tokens_details.cached_tokens == 16
    snapshots = [event.snapshot for event in events if event.type == "response.function_call_arguments.delta"]
    assert snapshots == ['{"city": ', '{"city": "Oslo"}', '{"city": "Rome"}']
    assert response.tools[0].type == "function"


async def test_a_whole_response_and_the_turn_after_it(client: AsyncOpenAI, engine: ScriptedEngine) -> None:
    calls = [
        {"id": "call_a", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Oslo"}'}}
    ]
    engine.message = {"role": "assistant", "content": None, "reasoning": "Hm", "tool_calls": calls}
    engine.reason = "tool_calls"
    first = await client.responses.create(model="m", input="Weather?", tools=[WEATHER])
    call = first.output[-1]
    assert isinstance(call, ResponseFunctionToolCall)
    engine.message, engine.reason = {"role": "assistant", "content": "It is sunny."}, "stop"
    history: Any = [
        {"role": "user", "content": "Weather?"},
        *[item.model_dump(exclude_none=True) for item in first.output],
        {"type": "function_call_output", "call_id": call.call_id, "output": "sunny"},
    ]
    second = await client.responses.create(model="m", input=history, tools=[WEATHER], max_output_tokens=9)
    assert second.output_text == "It is sunny."
    sent = engine.bodies[-1]["messages"]
    assert [turn["role"] for turn in sent] == ["user", "assistant", "tool"]
    assert sent[1]["reasoning"] == "Hm"
    assert sent[1]["tool_calls"] == calls
    assert engine.bodies[-1]["max_tokens"] == 9


class City(BaseModel):
    name: str


async def test_a_parsed_answer(client: AsyncOpenAI, engine: ScriptedEngine) -> None:
    engine.message = {"role": "assistant", "content": '{"name": "Oslo"}'}
    response = await client.responses.parse(model="m", input="Where?", text_format=City)
    assert response.output_parsed == City(name="Oslo")
    assert engine.bodies[-1]["response_format"]["json_schema"]["name"] == "City"


async def test_an_answer_cut_by_its_limit(client: AsyncOpenAI, engine: ScriptedEngine) -> None:
    engine.chunks = (said.ROLE, said.text("Hel"), said.end("length"), said.usage())
    async with await client.responses.create(model="m", input="Hi", stream=True) as stream:
        events = [event async for event in stream]
    last = events[-1]
    assert last.type == "response.incomplete"
    assert last.response.incomplete_details is not None
    assert last.response.incomplete_details.reason == "max_output_tokens"


async def test_an_error_in_a_stream_fails_the_response(client: AsyncOpenAI, engine: ScriptedEngine) -> None:
    engine.chunks = (said.text("x"), {"error": {"message": "out of memory", "code": 500}})
    async with await client.responses.create(model="m", input="Hi", stream=True) as stream:
        events = [event async for event in stream]
    last = events[-1]
    assert last.type == "response.failed"
    assert last.response.error is not None
    assert last.response.error.message == "out of memory"


async def test_a_conversation_kept_elsewhere_is_refused(client: AsyncOpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="nothing is stored"):
        await client.responses.create(model="m", input="Hi", previous_response_id="resp_1")
