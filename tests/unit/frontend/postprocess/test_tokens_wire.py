"""The engines' token streams read, requests continued, streams joined."""

from typing import Any

import msgspec
import pytest

from epp.core.endpoints import EngineKind
from epp.core.requests import Api
from frontend.body import Body
from frontend.postprocess.tokens_wire import (
    TokenDelta,
    TokenEvent,
    TokenLogprob,
    WireError,
    continue_body,
    kind_of,
    read_stream_event,
    splice_event,
    with_max_tokens,
)

VLLM, SGLANG, TRTLLM = EngineKind.VLLM, EngineKind.SGLANG, EngineKind.TRTLLM


def encoded(value: dict[str, Any]) -> bytes:
    return msgspec.json.encode(value)


def sglang(ids: list[int], total: int, **meta: Any) -> bytes:
    return encoded({"text": "", "output_ids": ids, "meta_info": {"completion_tokens": total, **meta}})


def test_vllms_choices_logprobs_and_usage() -> None:
    position = {"token_id": 5, "logprob": -0.5, "rank": 1, "top_logprobs": [{"token_id": 6, "logprob": -1}]}
    choice = {"index": 1, "token_ids": [5], "finish_reason": "stop", "stop_reason": 7}
    data = encoded({"request_id": "x", "choices": [choice | {"logprobs": {"content": [position]}}]})
    logprob = TokenLogprob(5, -0.5, ((6, -1.0),))
    assert read_stream_event(VLLM, data).deltas == (TokenDelta(1, (5,), "stop", 7, (logprob,)),)
    usage = {"prompt_tokens": 9, "prompt_tokens_details": {"cached_tokens": 4}}
    assert read_stream_event(VLLM, encoded({"choices": [], "usage": usage})) == TokenEvent((), 9, 4)
    assert read_stream_event(VLLM, b"[DONE]").done


@pytest.mark.parametrize("events", [([1], [1, 2], [1, 2, 3]), ([1], [2], [3])])
def test_sglangs_ids_are_told_apart_whether_they_repeat_or_not(events: tuple[list[int], ...]) -> None:
    seen: dict[int, int] = {}
    found: list[int] = []
    for total, ids in enumerate(events, 1):
        (delta,) = read_stream_event(SGLANG, sglang(ids, total), seen).deltas
        found += delta.token_ids
        seen[0] = total
    assert found == [1, 2, 3]


def test_sglangs_end_and_logprobs() -> None:
    data = sglang(
        [1, 2],
        2,
        finish_reason={"type": "stop", "matched": 2},
        cached_tokens=8,
        output_token_logprobs=[[-0.1, 1, None], [None, 2, None]],
        output_top_logprobs=[None, [[-0.2, 3, None]]],
    )
    event = read_stream_event(SGLANG, data, {0: 1})
    logprobs = (TokenLogprob(2, -9999.0, ((3, -0.2),)),)
    assert event.deltas == (TokenDelta(0, (2,), "stop", 2, logprobs, 2),)
    assert event.cached_tokens == 8


def test_trtllms_chunks() -> None:
    data = encoded({"choices": [{"index": 0, "text": "", "token_ids": [4, 5], "finish_reason": None}]})
    assert read_stream_event(TRTLLM, data).deltas == (TokenDelta(0, (4, 5)),)


@pytest.mark.parametrize("kind", [VLLM, TRTLLM])
def test_text_without_ids_is_not_silently_nothing(kind: EngineKind) -> None:
    data = encoded({"choices": [{"index": 0, "text": "hi", "finish_reason": None}]})
    with pytest.raises(WireError, match="no token ids"):
        read_stream_event(kind, data)


@pytest.mark.parametrize("kind", [VLLM, SGLANG, TRTLLM])
def test_an_engines_error_is_one(kind: EngineKind) -> None:
    assert read_stream_event(kind, encoded({"error": {"message": "out of memory"}})).error == "out of memory"
    assert read_stream_event(kind, encoded({"error": "odd"})).error == "the engine failed"
    with pytest.raises(WireError):
        read_stream_event(kind, b"{")


@pytest.mark.parametrize(
    ("kind", "ids", "most", "least"),
    [
        (VLLM, "token_ids", "max_tokens", "min_tokens"),
        (SGLANG, "input_ids", "max_new_tokens", "min_new_tokens"),
    ],
)
def test_a_request_goes_on_where_its_tokens_ended(kind: EngineKind, ids: str, most: str, least: str) -> None:
    body = Body.of({ids: [1, 2], "sampling_params": {most: 10, least: 2, "seed": 5}, "stream": True})
    more = continue_body(kind, body, [3, 4, 5])
    assert more.get(ids, list[int]) == [1, 2, 3, 4, 5]
    assert more.get("sampling_params", dict) == {most: 7, least: 0, "seed": 5}
    one = with_max_tokens(kind, body, 1)
    assert one.get("sampling_params", dict) == {"seed": 5, most: 1}
    unbounded = continue_body(kind, Body.of({ids: [1], "sampling_params": {most: None}}), [2])
    assert unbounded.get("sampling_params", dict) == {most: None}


def test_trtllms_bounds_stand_at_the_top() -> None:
    body = Body.of({"prompt": [1], "max_tokens": 3, "min_tokens": 1, "detokenize": False})
    more = continue_body(TRTLLM, body, [2])
    assert (more.get("prompt", list[int]), more.get("max_tokens", int)) == ([1, 2], 2)
    assert "min_tokens" not in with_max_tokens(TRTLLM, body, 1)
    assert kind_of(Api.COMPLETIONS, body) is TRTLLM
    assert kind_of(Api.COMPLETIONS, Body.of({"prompt": "text"})) is None
    assert kind_of(Api.VLLM_GENERATE, Body.of({"token_ids": [1]})) is VLLM
    assert kind_of(Api.CHAT, Body.of({"token_ids": [1]})) is None


def test_joined_streams_count_as_one() -> None:
    usage = {"prompt_tokens": 12, "completion_tokens": 4, "total_tokens": 16}
    spliced = msgspec.json.decode(splice_event(VLLM, encoded({"choices": [], "usage": usage}), 2))
    assert spliced["usage"] == {"prompt_tokens": 10, "completion_tokens": 6, "total_tokens": 16}
    again = splice_event(SGLANG, sglang([8, 9], 2, prompt_tokens=12), 3)
    event = read_stream_event(SGLANG, again, {0: 4})
    assert event.deltas[0].token_ids == (9,)
    assert event.prompt_tokens == 9
    assert splice_event(VLLM, b"[DONE]", 3) == b"[DONE]"
