"""The ``nvext`` object of an answer, from what the frontend and the engine know.

Fields and units are Dynamo's (``lib/llm/src/protocols/openai/nvext.rs``). Engines tell some of it in places
of their own: vLLM ``token_ids`` and ``stop_reason`` of a choice and ``prompt_logprobs`` of the answer, SGLang
``matched_stop``.
"""

from collections.abc import Callable
from typing import Any, Final

import msgspec

from epp.wire.tokens import token_ids
from frontend.pipeline.call import Call

_MS: Final = 1000.0
_NULL: Final = b"null"


class _Choice(msgspec.Struct, gc=False):
    finish_reason: str | None = None
    token_ids: list[int] | None = None
    stop_reason: msgspec.Raw = msgspec.Raw(_NULL)
    matched_stop: msgspec.Raw = msgspec.Raw(_NULL)
    routed_experts: msgspec.Raw = msgspec.Raw(_NULL)


class _Usage(msgspec.Struct, gc=False):
    prompt_tokens: int = 0
    completion_tokens: int | None = 0


class Seen(msgspec.Struct, gc=False):
    """What an answer, or a chunk of one, says."""

    choices: list[_Choice] = []
    usage: _Usage | None = None
    prompt_logprobs: msgspec.Raw = msgspec.Raw(_NULL)
    nvext: msgspec.Raw = msgspec.Raw(_NULL)

    @property
    def finished(self) -> bool:
        """A choice ends here."""
        return any(choice.finish_reason is not None for choice in self.choices)


_SEEN: Final = msgspec.json.Decoder(Seen)
_FIELDS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])


def extended(
    raw: bytes, call: Call, now_s: float, block_tokens: Callable[[int], int], *, whole: bool
) -> bytes:
    """An answer (``whole``) or chunk with the fields the client asked for; as it came if it is no JSON object
    of the expected form."""
    try:
        seen = _SEEN.decode(raw)
        fields = _FIELDS.decode(raw)
        nvext = {} if bytes(seen.nvext) == _NULL else _FIELDS.decode(seen.nvext)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return raw
    added = answer_fields(call, seen, now_s, block_tokens, whole=whole)
    nvext |= {name: msgspec.Raw(msgspec.json.encode(value)) for name, value in added.items()}
    if not nvext:
        return raw
    fields["nvext"] = msgspec.Raw(msgspec.json.encode(nvext))
    return msgspec.json.encode(fields)


def answer_fields(
    call: Call, seen: Seen, now_s: float, block_tokens: Callable[[int], int], *, whole: bool
) -> dict[str, Any]:
    """What was asked for and is known, by field."""
    asked = call.nvext.extra_fields
    found: dict[str, Any] = {}
    if "worker_id" in asked and call.route is not None:
        found["worker_id"] = worker_ids(call)
    if "token_ids" in asked and whole and call.route is not None:
        tokens = call.route.tokens
        if tokens is not None and tokens.are_ids:
            found["token_ids"] = token_ids(tokens.tokens)
    if "timing" in asked and (whole or seen.finished):
        found["timing"] = timing(call, now_s, block_tokens)
    _engine_fields(asked, seen, found)
    return found


def worker_ids(call: Call) -> dict[str, int | None]:
    """Both workers; unsplit, the one does both parts. A rank that the engine chose itself is null."""
    route = call.route
    assert route is not None
    prefill = route.prefill or route.worker
    return {
        "prefill_worker_id": prefill.endpoint.worker_id,
        "prefill_dp_rank": prefill.known_rank,
        "decode_worker_id": route.worker.endpoint.worker_id,
        "decode_dp_rank": route.worker.known_rank,
    }


def timing(call: Call, now_s: float, block_tokens: Callable[[int], int]) -> dict[str, float | int | None]:
    """Milliseconds since the request was read; what nobody measured is left out."""
    facts = call.facts
    sent_s, first_s = facts.dispatched_s, facts.first_token_s
    prefill_s = facts.prefill_s
    if prefill_s is None and sent_s is not None and first_s is not None:
        prefill_s = first_s - sent_s
    found: dict[str, float | int | None] = {
        "request_received_ms": call.arrived_ms or None,
        "prefill_wait_time_ms": None if sent_s is None else (sent_s - call.arrived_s) * _MS,
        "prefill_time_ms": None if prefill_s is None else prefill_s * _MS,
        "ttft_ms": None if first_s is None else (first_s - call.arrived_s) * _MS,
        "total_time_ms": (now_s - call.arrived_s) * _MS,
        "kv_hit_rate": hit_rate(call, block_tokens),
    }
    return {name: value for name, value in found.items() if value is not None}


def hit_rate(call: Call, block_tokens: Callable[[int], int]) -> float | None:
    """Blocks predicted to be resident by blocks of the prompt, both rounded up; by tokens while the block
    size is not known (0)."""
    route = call.route
    if route is None or route.cached_tokens is None or route.tokens is None or not route.tokens.prompt_tokens:
        return None
    size = block_tokens((route.prefill or route.worker).endpoint.worker_id) or 1
    return -(-route.cached_tokens // size) / -(-route.tokens.prompt_tokens // size)


def _engine_fields(asked: frozenset[str], seen: Seen, found: dict[str, Any]) -> None:
    for choice in seen.choices[:1]:
        if "completion_token_ids" in asked and choice.token_ids is not None:
            found["completion_token_ids"] = choice.token_ids
        if "stop_reason" in asked and choice.finish_reason is not None:
            stop = choice.stop_reason if bytes(choice.stop_reason) != _NULL else choice.matched_stop
            found["stop_reason"] = stop
        if "routed_experts" in asked and bytes(choice.routed_experts) != _NULL:
            found["routed_experts"] = choice.routed_experts
    if "prompt_logprobs" in asked and bytes(seen.prompt_logprobs) != _NULL:
        found["prompt_logprobs"] = seen.prompt_logprobs
