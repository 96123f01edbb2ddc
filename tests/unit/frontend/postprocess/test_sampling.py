"""What bodies ask of generation, in the engines' words."""

from typing import Any

import msgspec
import pytest

from epp.core.endpoints import EngineKind
from frontend.body import Body
from frontend.errors import ApiError
from frontend.nvext import NvExtRequest
from frontend.postprocess.sampling import read_sampling, token_body
from frontend.postprocess.toolplan import Choice, ToolPlan, read_plan

VLLM, SGLANG, TRTLLM = EngineKind.VLLM, EngineKind.SGLANG, EngineKind.TRTLLM
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "$defs": {"X": {}}}}}


def sent(
    kind: EngineKind, body: dict[str, Any], nvext: NvExtRequest | None = None, *, chat: bool = True
) -> Any:
    given = Body.of({"model": "m", **body})
    plan = read_plan(given) if chat else ToolPlan()
    sampling = read_sampling(given, nvext or NvExtRequest(), plan, chat=chat)
    return msgspec.json.decode(token_body(kind, sampling, [1, 2], given).encode())


def test_parameters_keep_their_names_for_vllm() -> None:
    asked = {"temperature": 0.1, "top_k": 5, "seed": 7, "logit_bias": {"3": -1.5}, "stop_token_ids": [9]}
    body = sent(VLLM, {**asked, "max_completion_tokens": 4, "stop": "x", "priority": 2, "unknown": 1})
    assert body == {
        "model": "m",
        "token_ids": [1, 2],
        "stream": True,
        "stream_options": {"include_usage": True},
        "priority": 2,
        "sampling_params": {**asked, "max_tokens": 4, "detokenize": False},
    }


def test_sglang_has_other_names_and_no_silent_bound() -> None:
    body = sent(SGLANG, {"seed": 7, "min_tokens": 2, "top_k": 0, "logprobs": True, "top_logprobs": 3})
    params = {"sampling_seed": 7, "min_new_tokens": 2, "top_k": -1, "max_new_tokens": None}
    assert body["sampling_params"] == params
    assert (body["return_logprob"], body["top_logprobs_num"]) == (True, 3)
    assert "model" not in body


def test_trtllm_takes_them_at_the_top_and_nothing_it_does_not_know() -> None:
    body = sent(TRTLLM, {"max_tokens": 5, "nvext": {}, "response_format": {"type": "json_object"}})
    assert body["prompt"] == [1, 2]
    assert body["detokenize"] is False
    assert body["response_format"] == {"type": "json_object"}
    assert "nvext" not in body


def test_what_asks_for_nothing_is_let_through() -> None:
    body = {
        "best_of": 1,
        "length_penalty": 1.0,
        "early_stopping": False,
        "custom_params": {},
        "stop_regex": "",
    }
    assert sent(VLLM, {**body, "lora_path": None})["sampling_params"] == {"detokenize": False}


def test_sglangs_own_fields_reach_it() -> None:
    body = sent(SGLANG, {"extra_key": "tenant", "lora_path": "ad", "ebnf": "root ::= x"})
    assert (body["extra_key"], body["lora_path"], body["sampling_params"]["ebnf"]) == (
        "tenant",
        "ad",
        "root ::= x",
    )


def test_adapters_and_what_means_every_token() -> None:
    sampling = read_sampling(Body.of({"top_k": -1}), NvExtRequest(), ToolPlan(), chat=True)
    body = Body.of({"model": "m"})
    assert token_body(SGLANG, sampling, [1], body, "ad").get("lora_path", str) == "ad"
    assert token_body(VLLM, sampling, [1], body, "ad").get("model", str) == "m"
    assert token_body(TRTLLM, sampling, [1], body).get("top_k", int) == 0
    with pytest.raises(ApiError, match="Adapters"):
        token_body(TRTLLM, sampling, [1], body, "ad")


@pytest.mark.parametrize(
    ("kind", "body", "named"),
    [
        (VLLM, {"best_of": 2}, "best_of"),
        (VLLM, {"use_beam_search": True}, "use_beam_search"),
        (VLLM, {"prompt_logprobs": 0}, "prompt_logprobs"),
        (VLLM, {"length_penalty": 1.2}, "length_penalty"),
        (SGLANG, {"custom_params": {"a": 1}}, "custom_params"),
        (SGLANG, {"stop_regex": "x"}, "stop_regex"),
        (VLLM, {"lora_path": "ad"}, "lora_path"),
        (TRTLLM, {"extra_key": "tenant"}, "extra_key"),
        (VLLM, {"n": 0}, "`n`"),
        (VLLM, {"max_tokens": 0}, "max_tokens"),
        (VLLM, {"stop": [""]}, "stop"),
        (VLLM, {"guided_json": {}, "guided_regex": "x"}, "json and regex"),
        (VLLM, {"response_format": {"type": "odd"}}, "odd"),
        (VLLM, {"response_format": {"type": "json_schema"}}, "json_schema.schema"),
        (VLLM, {"structured_outputs": {"odd": 1}}, "odd"),
        (SGLANG, {"bad_words": ["x"]}, "bad_words"),
        (TRTLLM, {"logprobs": True}, "logprobs"),
        (VLLM, {"tool_choice": "required"}, "tools"),
        (VLLM, {"tool_choice": {"function": {"name": "g"}}, "tools": [TOOL]}, "`g`"),
        (VLLM, {"tool_choice": 5, "tools": [TOOL]}, "tool_choice"),
        (VLLM, {"tool_choice": msgspec.Raw(b"1e400"), "tools": [TOOL]}, "tool_choice"),
    ],
)
def test_what_cannot_be_is_refused_by_name(kind: EngineKind, body: dict[str, Any], named: str) -> None:
    with pytest.raises(ApiError) as error:
        sent(kind, body)
    assert error.value.status == 400
    assert named in error.value.message


@pytest.mark.parametrize(
    ("asked", "vllm", "sglang", "trtllm"),
    [
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {"a": 1}}}},
            {"json": {"a": 1}},
            {"json_schema": '{"a": 1}'},
            {"type": "json", "schema": {"a": 1}},
        ),
        ({"guided_regex": "a+"}, {"regex": "a+"}, {"regex": "a+"}, {"type": "regex", "regex": "a+"}),
        (
            {"structured_outputs": {"choice": ["a.", "b"]}},
            {"choice": ["a.", "b"]},
            {"regex": r"(a\.)|(b)"},
            {"type": "regex", "regex": r"(a\.)|(b)"},
        ),
        ({"guided_grammar": "g"}, {"grammar": "g"}, {"ebnf": "g"}, {"type": "ebnf", "ebnf": "g"}),
    ],
)
def test_constraints_in_every_engines_form(
    asked: dict[str, Any], vllm: dict[str, Any], sglang: dict[str, Any], trtllm: dict[str, Any]
) -> None:
    assert sent(VLLM, asked)["sampling_params"]["structured_outputs"] == vllm
    assert sent(SGLANG, asked)["sampling_params"].items() >= sglang.items()
    assert sent(TRTLLM, asked)["response_format"] == trtllm


def test_a_required_call_is_held_to_the_tools_schemas() -> None:
    body = sent(VLLM, {"tools": [TOOL], "tool_choice": "required", "parallel_tool_calls": False})
    schema = body["sampling_params"]["structured_outputs"]["json"]
    assert schema["maxItems"] == 1
    assert schema["$defs"] == {"X": {}}
    assert schema["items"]["anyOf"][0]["properties"]["name"] == {"type": "string", "enum": ["f"]}
    named = sent(VLLM, {"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "f"}}})
    assert named["sampling_params"]["structured_outputs"] == {"json": TOOL["function"]["parameters"]}  # type: ignore[index]


def test_plans() -> None:
    assert read_plan(Body.of({})).choice is Choice.NONE
    assert read_plan(Body.of({"tools": [TOOL]})).choice is Choice.AUTO
    assert read_plan(Body.of({"tools": [TOOL], "tool_choice": "none"})).choice is Choice.NONE


def test_nvext_and_openais_default() -> None:
    asked = NvExtRequest(greedy=True, max_thinking_tokens=30)
    params = sent(VLLM, {"temperature": 0.9}, asked, chat=False)["sampling_params"]
    assert (params["temperature"], params["thinking_token_budget"], params["max_tokens"]) == (0.0, 30, 16)
