"""Anthropic's own client and its typed streams, unchanged."""

from collections.abc import AsyncIterator
from typing import Any

import anthropic
import pytest
from anthropic import AsyncAnthropic
from anthropic.types import Message, TextBlock, ThinkingBlock, ToolUseBlock

from frontend.errors import ApiError
from tests.integration.frontend.translate.conftest import ScriptedEngine
from tests.unit.frontend.translate import said

WEATHER: Any = {
    "name": "weather",
    "description": "The weather of a city",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
ASK: Any = {"model": "m", "max_tokens": 2000, "messages": [{"role": "user", "content": "Weather?"}]}


@pytest.fixture
async def client(engine: ScriptedEngine) -> AsyncIterator[AsyncAnthropic]:
    async with AsyncAnthropic(base_url=engine.base_url, api_key="k", max_retries=0) as client:
        yield client


async def test_a_stream_with_thinking_text_and_two_tools(
    client: AsyncAnthropic, engine: ScriptedEngine
) -> None:
    engine.chunks = said.TWO_CALLS
    thinking: Any = {"type": "enabled", "budget_tokens": 1024}
    async with client.messages.stream(**ASK, tools=[WEATHER], thinking=thinking) as stream:
        texts = [text async for text in stream.text_stream]
        message = await stream.get_final_message()
    assert "".join(texts) == "I look it up."
    think, text, first, second = message.content
    assert isinstance(think, ThinkingBlock)
    assert think.thinking == "Let me see."
    assert isinstance(text, TextBlock)
    assert isinstance(first, ToolUseBlock)
    assert isinstance(second, ToolUseBlock)
    assert (first.name, first.id, first.input) == ("weather", "call_a", {"city": "Oslo"})
    assert second.input == {"city": "Rome"}
    assert message.stop_reason == "tool_use"
    assert (message.usage.input_tokens, message.usage.output_tokens) == (4, 7)
    assert message.usage.cache_read_input_tokens == 16


async def test_typed_events_come_in_order(client: AsyncAnthropic, engine: ScriptedEngine) -> None:
    engine.chunks = (said.ROLE, said.text("Hel"), said.text("lo"), said.end("length"), said.usage())
    async with client.messages.stream(**ASK) as stream:
        kinds = [event.type async for event in stream]
    assert kinds == [
        "message_start",
        "content_block_start",
        "content_block_delta",
        "text",
        "content_block_delta",
        "text",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]


async def test_a_whole_message_and_the_turn_after_it(client: AsyncAnthropic, engine: ScriptedEngine) -> None:
    calls = [
        {"id": "call_a", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Oslo"}'}}
    ]
    engine.message = {"role": "assistant", "content": None, "reasoning": "Hm", "tool_calls": calls}
    engine.reason = "tool_calls"
    message: Message = await client.messages.create(**ASK, tools=[WEATHER], tool_choice={"type": "any"})
    tool = message.content[-1]
    assert isinstance(tool, ToolUseBlock)
    assert tool.input == {"city": "Oslo"}
    result: Any = [{"type": "tool_result", "tool_use_id": tool.id, "content": "sunny"}]
    engine.message, engine.reason = {"role": "assistant", "content": "It is sunny."}, "stop"
    turns: Any = [*ASK["messages"], {"role": "assistant", "content": message.content}]
    after = await client.messages.create(
        model="m", max_tokens=9, tools=[WEATHER], messages=[*turns, {"role": "user", "content": result}]
    )
    assert isinstance(after.content[0], TextBlock)
    assert after.content[0].text == "It is sunny."
    assert after.stop_reason == "end_turn"
    sent = engine.bodies[-1]["messages"]
    assert [turn["role"] for turn in sent] == ["user", "assistant", "tool"]
    assert sent[1]["reasoning"] == "Hm"
    assert sent[1]["tool_calls"] == calls
    assert sent[2]["content"] == "sunny"


async def test_a_refused_request_is_a_typed_error(client: AsyncAnthropic) -> None:
    search: Any = {"type": "web_search_20250305", "name": "web_search"}
    with pytest.raises(anthropic.BadRequestError, match="web_search_20250305"):
        await client.messages.create(**ASK, tools=[search])


async def test_an_overload_is_a_typed_error(client: AsyncAnthropic, engine: ScriptedEngine) -> None:
    engine.error = ApiError(529, "Every worker is busy.")
    with pytest.raises(anthropic.APIStatusError) as raised:
        await client.messages.create(**ASK)
    assert raised.value.status_code == 529
    assert raised.value.body == {
        "type": "error",
        "error": {"type": "overloaded_error", "message": "Every worker is busy."},
    }


async def test_an_error_in_a_stream_is_raised(client: AsyncAnthropic, engine: ScriptedEngine) -> None:
    engine.chunks = (said.text("x"), {"error": {"message": "out of memory", "code": 500}})
    with pytest.raises(anthropic.APIStatusError, match="out of memory"):
        async with client.messages.stream(**ASK) as stream:
            await stream.get_final_message()
