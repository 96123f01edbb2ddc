"""The OpenAI Python SDK against a frontend process that postprocesses."""

from typing import Any

import openai
import pytest

MESSAGES: Any = [{"role": "user", "content": "What is a picker?"}]
FUNCTION = {"name": "look_up", "parameters": {"type": "object", "properties": {}}}
TOOLS: Any = [{"type": "function", "function": FUNCTION}]


@pytest.fixture(scope="module")
def client(site: Any, pool: Any) -> Any:
    flags = (
        *("--postprocess", "frontend", "--router-mode", "kv"),
        *("--model-path", str(site.model_dir), "--model-name", "sim"),
    )
    made = site.frontend(site.endpoints(*pool), *flags).listed().serves()
    with openai.OpenAI(base_url=f"{made.url}/v1", api_key="none", max_retries=0, timeout=60) as found:
        yield found


def test_the_sdk_reads_streams_and_whole_answers(client: openai.OpenAI, front: Any) -> None:
    asked: Any = {"model": "sim", "messages": MESSAGES, "max_tokens": 12, "seed": 1}
    with openai.OpenAI(base_url=f"{front.url}/v1", api_key="none", timeout=60) as engines_own:
        theirs = engines_own.chat.completions.create(**asked)
    ours = client.chat.completions.create(**asked, logprobs=True)
    assert ours.choices[0].message.content == theirs.choices[0].message.content
    assert ours.choices[0].logprobs is not None
    assert len(ours.choices[0].logprobs.content or ()) == 12
    options = {"include_usage": True}
    chunks = list(client.chat.completions.create(**asked, stream=True, stream_options=options))
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == ours.choices[0].message.content
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 12


def test_the_sdk_reads_completions_and_plain_answers_to_tools(client: openai.OpenAI) -> None:
    text = client.completions.create(model="sim", prompt="Once", max_tokens=4, logprobs=1)
    assert text.choices[0].logprobs is not None
    assert "".join(text.choices[0].logprobs.tokens or ()) == text.choices[0].text
    answer = client.chat.completions.create(model="sim", messages=MESSAGES, tools=TOOLS, max_tokens=4)
    assert answer.choices[0].message.tool_calls is None
    assert answer.choices[0].message.content


def test_nvext_tells_the_completions_tokens(client: openai.OpenAI) -> None:
    asked: Any = {"model": "sim", "messages": MESSAGES, "max_tokens": 3}
    answer = client.chat.completions.create(
        **asked, extra_body={"nvext": {"extra_fields": ["completion_token_ids", "worker_id"]}}
    )
    nvext: Any = answer.model_extra["nvext"]  # type: ignore[index]
    assert len(nvext["completion_token_ids"]) == 3
    assert nvext["worker_id"]
