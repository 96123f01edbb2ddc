"""The token-in/token-out form we write and read, against vLLM's own models of it."""

import json
import subprocess
from typing import Any

import pytest

from epp.core.endpoints import EngineKind
from frontend.body import Body
from frontend.nvext import NvExtRequest
from frontend.postprocess.sampling import read_sampling, token_body
from frontend.postprocess.tokens_wire import TokenDelta, TokenLogprob, continue_body, read_stream_event
from frontend.postprocess.toolplan import read_plan
from tests.interop.vllm.server import vllm_python

pytestmark = pytest.mark.vllm

_SCRIPT = """
import json, sys
from vllm.entrypoints.scale_out.token_in_token_out import protocol as p

params = [p.GenerateRequest.model_validate(body).sampling_params for body in json.load(sys.stdin)]
logprob = p.GenerateLogProbsContent(token_id=7, logprob=-0.5, rank=1,
                                    top_logprobs=[p.GenerateLogProb(token_id=7, logprob=-0.5, rank=1)])
choice = p.GenerateTokensStreamChoice(index=0, token_ids=[7], finish_reason="stop", stop_reason="x",
                                      logprobs=p.GenerateLogProbs(content=[logprob]))
chunk = p.GenerateTokensStreamResponse(request_id="r", choices=[choice])
print(json.dumps({"chunk": chunk.model_dump_json(), "params": [repr(one) for one in params]}))
"""
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
BODIES: list[dict[str, Any]] = [
    {"max_tokens": 5, "min_tokens": 2, "temperature": 0.5, "top_k": 3, "seed": 1, "stop": ["x"]},
    {"logit_bias": {"3": -1.0}, "stop_token_ids": [4], "n": 2, "logprobs": True, "top_logprobs": 2},
    {"response_format": {"type": "json_object"}, "presence_penalty": 0.5, "ignore_eos": True},
    {"tools": [TOOL], "tool_choice": "required", "thinking_token_budget": 9, "cache_salt": "s"},
    {"guided_regex": "a+", "bad_words": ["x"], "allowed_token_ids": [1], "priority": 3},
]


def test_vllm_takes_our_bodies_and_we_read_its_chunks() -> None:
    bodies: list[Any] = []
    for asked in BODIES:
        given = Body.of({"model": "m", "messages": [], **asked})
        sampling = read_sampling(given, NvExtRequest(), read_plan(given), chat=True)
        body = token_body(EngineKind.VLLM, sampling, [1, 2], given)
        bodies += [json.loads(one.encode()) for one in (body, continue_body(EngineKind.VLLM, body, [3]))]
    done = subprocess.run(
        [vllm_python(), "-c", _SCRIPT],
        input=json.dumps(bodies),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert "max_tokens=5" in found["params"][0]
    assert "max_tokens=4" in found["params"][1]
    assert "thinking_token_budget=9" in found["params"][6]
    event = read_stream_event(EngineKind.VLLM, found["chunk"].encode())
    logprobs = (TokenLogprob(7, -0.5, ((7, -0.5),)),)
    assert event.deltas == (TokenDelta(0, (7,), "stop", "x", logprobs),)
