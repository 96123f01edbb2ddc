"""Any bytes in, a record or a refusal out: the request parsers are total."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from epp.core.errors import BadRequestError
from epp.core.requests import Api, ChatPrompt, InferenceRequest
from epp.wire.headers import merge, read_routing_headers
from epp.wire.inject import splice_model, splice_token_data
from epp.wire.openai import parse_request

PATHS = (
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/embeddings",
    "/v1/responses",
    "/v1/messages",
    "/v1/messages/count_tokens",
    "/tokenize",
    "/inference/v1/generate",
    "/generate",
)
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a": [1]}'}}
NVEXT = {
    "annotations": ["query_instance_id:"],
    "token_data": [1, 2],
    "agent_hints": {"priority": 1, "latency_sensitivity": 2.5},
    "routing_constraints": {"required_taints": ["a"], "preferred_taints": {"b": 1}},
}
VALID: tuple[dict[str, Any], ...] = (
    {
        "model": "m",
        "messages": [
            {"role": "system", "content": "x-anthropic-billing-header: 1\nrest"},
            {"role": "user", "content": [{"type": "text", "text": "a"}, IMAGE, "b"]},
            {"role": "assistant", "content": None, "reasoning": "r", "tool_calls": [CALL]},
            {"role": "tool", "tool_call_id": "c", "content": [{"type": "text", "text": "a"}]},
        ],
        "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}],
        "chat_template_kwargs": {"enable_thinking": False},
        "max_tokens": 5,
        "nvext": NVEXT,
        "router_config_override": {"overlap_score_weight": 0},
    },
    {"model": "m", "prompt": ["a", "b"], "input": [[1, 2], [3]], "text": "t", "token_ids": [1, 2]},
    {
        "model": "m",
        "max_tokens": 5,
        "system": [{"type": "text", "text": "be"}],
        "messages": [
            {"role": "user", "content": [{"type": "image", "source": {"type": "url", "url": "u"}}]},
            {
                "role": "assistant",
                "content": [{"type": "tool_use", "id": "t", "name": "f", "input": {"a": 1}}],
            },
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": "r"}]}
                ],
            },
        ],
        "tools": [{"name": "f", "input_schema": {}}],
        "thinking": {"type": "disabled"},
    },
    {
        "model": "m",
        "instructions": "be",
        "input": [
            {"role": "user", "content": [{"type": "input_text", "text": "a"}]},
            {"type": "reasoning", "summary": [{"type": "summary_text", "text": "s"}]},
            {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c", "output": "o"},
            {"type": "web_search_call", "id": "w"},
        ],
        "tools": [{"type": "namespace", "name": "n", "tools": [{"type": "function", "name": "f"}]}],
        "reasoning": {"effort": "low"},
    },
)

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
    | st.sampled_from(["user", "assistant", "tool", "function", "text", "reasoning", ""]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["type", "role", "content", "text", "name", "tool_calls", "function", "input"])
            | st.text(max_size=4),
            inner,
            max_size=4,
        )
    ),
    max_leaves=15,
)
FIELDS = sorted({field for body in VALID for field in body})


def read(path: str, body: bytes) -> InferenceRequest | None:
    """The record, checked, or None for a refusal; anything else escapes."""
    try:
        request = parse_request(path, body)
    except BadRequestError:
        return None
    assert request.body_bytes == len(body)
    assert (request.api is Api.OTHER) == (not body)
    if isinstance(request.prompt, ChatPrompt):
        assert all(isinstance(m["content"], str | list) for m in request.prompt.messages)
        assert all(isinstance(m["role"], str) for m in request.prompt.messages)
    merge(request, read_routing_headers({}), trusted=True)
    return request


@given(st.sampled_from(PATHS), st.binary())
def test_arbitrary_bytes(path: str, body: bytes) -> None:
    read(path, body)


@given(st.sampled_from(PATHS), JSON)
def test_arbitrary_json(path: str, value: object) -> None:
    read(path, json.dumps(value).encode())


@given(st.sampled_from(PATHS), st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=5))
def test_known_fields_with_arbitrary_values(path: str, fields: dict[str, object]) -> None:
    read(path, json.dumps({"model": "m", **fields}).encode())


def places(value: object, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every value inside ``value``."""
    inner: list[tuple[Any, Any]] = []
    if isinstance(value, dict):
        inner = list(value.items())
    elif isinstance(value, list):
        inner = list(enumerate(value))
    return [at, *(place for key, item in inner for place in places(item, (*at, key)))]


def with_value(value: Any, place: tuple[Any, ...], new: object) -> Any:
    """A copy of ``value`` with ``new`` at ``place``."""
    if not place:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[place[0]] = with_value(value[place[0]], place[1:], new)
    return copy


@given(st.sampled_from(PATHS), st.sampled_from(VALID), st.data())
def test_valid_bodies_with_one_value_exchanged(path: str, body: dict[str, Any], data: st.DataObject) -> None:
    place = data.draw(st.sampled_from(places(body)))
    read(path, json.dumps(with_value(body, place, data.draw(JSON))).encode())


@given(st.sampled_from(PATHS), st.sampled_from(VALID), st.data())
def test_valid_bodies_with_bytes_exchanged(path: str, body: dict[str, Any], data: st.DataObject) -> None:
    sent = bytearray(json.dumps(body).encode())
    start = data.draw(st.integers(0, len(sent)))
    end = data.draw(st.integers(start, min(len(sent), start + 8)))
    sent[start:end] = data.draw(
        st.binary(max_size=4) | st.sampled_from([b'"', b"{", b"]", b"\\", b",", b"null"])
    )
    read(path, bytes(sent))


@pytest.mark.parametrize("body", VALID)
def test_the_bodies_mutated_above_are_valid_somewhere(body: dict[str, Any]) -> None:
    sent = json.dumps(body).encode()
    assert any(read(path, sent) for path in PATHS)


@given(st.binary() | JSON.map(lambda value: json.dumps(value).encode()))
def test_splices_refuse_or_give_an_object(body: bytes) -> None:
    for splice in (lambda: splice_token_data(body, b"\1\0\0\0"), lambda: splice_model(body, "m")):
        try:
            spliced = splice()
        except BadRequestError:
            continue
        assert isinstance(json.loads(spliced.decode(errors="replace")), dict)


HEADERS = st.dictionaries(
    st.sampled_from(
        [
            "x-request-id",
            "x-tenant-id",
            "x-dynamo-worker-instance-id",
            "x-dp-rank",
            "x-dynamo-request-priority",
            "x-slo-ttft-ms",
            "x-claude-code-session-id",
            "x-claude-code-agent-id",
        ]
    ),
    st.text() | st.integers().map(str) | st.floats().map(str),
)


@given(HEADERS)
def test_arbitrary_headers(headers: dict[str, str]) -> None:
    read_headers = read_routing_headers(headers)
    assert {name for name, _ in read_headers.unreadable} <= headers.keys()
    request = InferenceRequest(api=Api.OTHER, model="", prompt=None)
    merge(request, read_headers, trusted=True)
