"""Both SDKs against a real frontend process: simulated engines for text, a scripted one for the rest."""

from collections.abc import Iterator
from typing import Any

import anthropic
import openai
import pytest
from anthropic import Anthropic
from anthropic.types import TextBlock
from openai import OpenAI

from tests.unit.frontend.translate import said

ASK: Any = [{"role": "user", "content": "What is a picker?"}]
WEATHER: Any = {"name": "weather", "input_schema": {"type": "object", "properties": {}}}
FLAGS = ("--enable-anthropic-api",)


@pytest.fixture(scope="module")
def served(site: Any, pool: Any) -> Any:
    model = ("--router-mode", "kv", "--model-path", str(site.model_dir), "--model-name", "sim")
    return site.frontend(site.endpoints(*pool), *FLAGS, *model).listed().serves()


@pytest.fixture
def claude(served: Any) -> Iterator[Anthropic]:
    with Anthropic(base_url=served.url, api_key="k", max_retries=0, timeout=60) as client:
        yield client


@pytest.fixture
def gpt(served: Any) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{served.url}/v1", api_key="k", max_retries=0, timeout=60) as client:
        yield client


def chat_text(gpt: OpenAI) -> str:
    """What the engines answer, which depends on the prompt's tokens alone."""
    answer = gpt.chat.completions.create(model="sim", messages=ASK, max_tokens=8)
    return answer.choices[0].message.content or ""


def test_all_three_apis_say_the_same(claude: Anthropic, gpt: OpenAI) -> None:
    expected = chat_text(gpt)
    message = claude.messages.create(model="sim", messages=ASK, max_tokens=8)
    assert isinstance(message.content[0], TextBlock)
    assert message.content[0].text == expected
    assert (message.stop_reason, message.usage.output_tokens) == ("max_tokens", 8)
    response = gpt.responses.create(model="sim", input=ASK, max_output_tokens=8)
    assert response.output_text == expected
    assert response.status == "incomplete"


def test_streams_say_the_same(claude: Anthropic, gpt: OpenAI) -> None:
    expected = chat_text(gpt)
    with claude.messages.stream(model="sim", messages=ASK, max_tokens=8) as stream:
        message = stream.get_final_message()
    assert isinstance(message.content[0], TextBlock)
    assert message.content[0].text == expected
    assert message.usage.output_tokens == 8
    with gpt.responses.stream(model="sim", input=ASK, max_output_tokens=8) as events:
        pieces = [event.delta for event in events if event.type == "response.output_text.delta"]
    assert "".join(pieces) == expected


def test_tokens_are_counted_as_the_engine_counts_them(claude: Anthropic) -> None:
    counted = claude.messages.count_tokens(model="sim", messages=ASK, system="Be kind.")
    usage = claude.messages.create(model="sim", messages=ASK, system="Be kind.", max_tokens=1).usage
    assert counted.input_tokens == usage.input_tokens + (usage.cache_read_input_tokens or 0)


def test_input_tokens_of_a_response_are_counted_too(gpt: OpenAI) -> None:
    counted = gpt.responses.input_tokens.count(model="sim", input="Say hi", instructions="Be kind.")
    usage = gpt.responses.create(model="sim", input="Say hi", instructions="Be kind.").usage
    assert usage is not None
    assert counted.input_tokens == usage.input_tokens


def test_errors_have_the_form_of_their_api(claude: Anthropic, gpt: OpenAI) -> None:
    with pytest.raises(anthropic.BadRequestError) as raised:
        claude.messages.create(model="sim", messages=[], max_tokens=1)
    assert raised.value.body["type"] == "error"  # type: ignore[index]
    with pytest.raises(anthropic.NotFoundError):
        claude.messages.create(model="nobody", messages=ASK, max_tokens=1)
    with pytest.raises(openai.BadRequestError, match="previous_response_id"):
        gpt.responses.create(model="sim", input="x", previous_response_id="resp_1")


def test_thinking_text_and_tools_through_a_process(site: Any, scripted: Any) -> None:
    front = site.frontend(site.endpoints(scripted.entry()), *FLAGS).serves("scripted")
    scripted.answers["/v1/chat/completions"] = (200, "text/event-stream", said.sse(*said.TWO_CALLS))
    with (
        Anthropic(base_url=front.url, api_key="secret", max_retries=0, timeout=60) as claude,
        claude.messages.stream(model="scripted", messages=ASK, max_tokens=90, tools=[WEATHER]) as stream,
    ):
        message = stream.get_final_message()
    assert [block.type for block in message.content] == ["thinking", "text", "tool_use", "tool_use"]
    path, headers, _ = scripted.asked[-1]
    assert path == "/v1/chat/completions"
    assert headers["authorization"] == "Bearer secret"
    with (
        OpenAI(base_url=f"{front.url}/v1", api_key="k", max_retries=0, timeout=60) as gpt,
        gpt.responses.stream(model="scripted", input="x") as events,
    ):
        kinds = [item.type for item in events.get_final_response().output]
    assert kinds == ["reasoning", "message", "function_call", "function_call"]
