"""Whatever a prefill worker answers: a body to decode with, an answer to tell, or a counted failure."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from epp.core.requests import Api
from frontend.body import Body
from frontend.orchestrate.contract import Contract, Decode, Terminal
from frontend.orchestrate.failures import PrefillError
from frontend.orchestrate.terminal import chunks
from frontend.orchestrate.trtllm import TrtllmContract
from frontend.orchestrate.vllm import VllmContract

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
CHOICES = st.lists(
    JSON
    | st.fixed_dictionaries(
        {},
        optional={
            "finish_reason": st.sampled_from(["stop", "length", None, 3]),
            "message": JSON | st.fixed_dictionaries({"tool_calls": JSON}),
            "disaggregated_params": JSON,
        },
    ),
    max_size=2,
)
ANSWERS = st.fixed_dictionaries(
    {},
    optional={"choices": JSON | CHOICES, "kv_transfer_params": JSON, "prompt_token_ids": JSON, "usage": JSON},
)
CONTRACTS = pytest.mark.parametrize("contract", [VllmContract(), TrtllmContract()], ids=["vllm", "trtllm"])
ASKED = Body.of({"prompt": "p", "max_tokens": 9})


def check(contract: Contract, raw: bytes) -> None:
    for api in (Api.CHAT, Api.COMPLETIONS):
        try:
            step = contract.hand_over(api, ASKED, raw)
        except PrefillError:
            continue
        if isinstance(step, Decode):
            json.loads(step.body.encode())
        else:
            assert isinstance(step, Terminal)
            for chunk in chunks(api, step.answer, include_usage=True):
                json.loads(chunk)


@CONTRACTS
@given(answer=ANSWERS)
def test_any_object(contract: Contract, answer: dict[str, Any]) -> None:
    check(contract, json.dumps(answer).encode())


@CONTRACTS
@given(raw=st.binary(max_size=64))
def test_any_bytes(contract: Contract, raw: bytes) -> None:
    check(contract, raw)
