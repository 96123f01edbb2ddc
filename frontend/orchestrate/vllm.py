"""vLLM's contract: ``kv_transfer_params``, opaque to everybody but the KV connectors of the two engines.

The prefill is the request for one token. Its answer's ``kv_transfer_params`` names the blocks that wait to be
pulled; the decode request carries that object, byte for byte, and computes the first token itself. The blocks
are held for a lease (30 s) whatever becomes of the decode, so nothing leaks for good.
"""

from typing import Any, Final

import msgspec

from epp.core.requests import Api
from frontend.body import Body
from frontend.orchestrate.contract import (
    Decode,
    Next,
    Terminal,
    body_of,
    is_null,
    one_sequence,
    read_answer,
    whole,
)
from frontend.orchestrate.failures import Reason, no_handover

PREFILL_PARAMS: Final = msgspec.Raw(
    b'{"do_remote_decode":true,"do_remote_prefill":false,"remote_engine_id":null,"remote_block_ids":null,'
    b'"remote_host":null,"remote_port":null}'
)
_LIMITS: Final = {
    Api.CHAT: ("max_completion_tokens", "max_tokens"),
    Api.COMPLETIONS: ("max_tokens",),
    Api.RESPONSES: ("max_output_tokens",),
}
"""Fields that bound an answer, the one that wins first."""
_STOPPED: Final = "stop"
_UNSET: Final = frozenset({None, b"null"})


class VllmContract:
    """See :class:`~frontend.orchestrate.contract.Contract`."""

    def refuses(self, api: Api, body: Body) -> Reason | None:
        """Several sequences would pull, and so free, the same blocks."""
        if api is Api.VLLM_GENERATE:
            return _refused_sampling(_sampling(body))
        if api not in _LIMITS or body.get("background", bool):
            return Reason.API
        echoed = body.get("echo", bool) and body.raw("logprobs") not in _UNSET
        if echoed or body.raw("prompt_logprobs") not in _UNSET:
            return Reason.PROMPT_LOGPROBS
        return one_sequence(api, body)

    def prefill(self, api: Api, body: Body) -> Body:
        """All but the length is kept: the prompt, and what decides whether the first token is the last."""
        handed_over = {} if _wants_one(api, body) else {"kv_transfer_params": PREFILL_PARAMS}
        if api is Api.VLLM_GENERATE:
            sampling = _sampling(body)
            shortened = {**sampling, "max_tokens": 1} | _at_most_one(sampling.get("min_tokens"))
            return whole(body).replace(sampling_params=shortened, **handed_over)
        limits: dict[str, Any] = {
            name: 1 for name in _LIMITS[api] if name in body or name != "max_completion_tokens"
        }
        if api is Api.RESPONSES:
            limits["store"] = False
        minimum = _at_most_one(body.get("min_tokens", int))
        return whole(body).replace(**limits, **minimum, **handed_over)

    def hand_over(self, api: Api, body: Body, answer: bytes) -> Next:
        """Stopped at its first token, or asked for one only: that was all."""
        seen = read_answer(answer)
        stopped = bool(seen.choices) and seen.choices[0].finish_reason == _STOPPED
        if stopped or (seen.choices and _wants_one(api, body)):
            return Terminal(body_of(answer).replace(kv_transfer_params=None))
        if is_null(seen.kv_transfer_params):
            raise no_handover("The prefill worker handed nothing over.")
        return Decode(body.replace(kv_transfer_params=seen.kv_transfer_params))


def _sampling(body: Body) -> dict[str, Any]:
    return body.get("sampling_params", dict[str, Any]) or {}


def _wants_one(api: Api, body: Body) -> bool:
    """Whether the client bounds its answer to one token: then nobody needs to be handed anything. A Responses
    answer is left to the decode worker: its status would have to be told from its items."""
    if api is Api.VLLM_GENERATE:
        return bool(_sampling(body).get("max_tokens") == 1)
    if api is Api.RESPONSES:
        return False
    given = (body.get(name, int) for name in _LIMITS[api])
    return next((limit for limit in given if limit is not None), None) == 1


def _at_most_one(minimum: Any) -> dict[str, int]:
    """Engines refuse a minimum beyond the limit; one still keeps the first token from being an end."""
    return {"min_tokens": 1} if isinstance(minimum, int) and minimum > 1 else {}


def _refused_sampling(sampling: dict[str, Any]) -> Reason | None:
    if (sampling.get("n") or 1) != 1:
        return Reason.SAMPLES
    return None if sampling.get("prompt_logprobs") is None else Reason.PROMPT_LOGPROBS
