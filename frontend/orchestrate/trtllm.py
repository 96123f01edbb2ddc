"""TensorRT-LLM's contract: ``disaggregated_params``, context first.

The context worker gets the request as it is, marked ``context_only``, and stops after the first token by
itself. Its answer's first choice holds the parameters of the decode: the first token, the context's request
id, an opaque state. They go on as they came, with ``request_type`` changed to ``generation_only`` and the
token ids of the prompt, if the answer has them, in place of its text. TensorRT-LLM refuses unknown fields,
so nothing is added.
"""

import secrets
from collections.abc import Callable
from typing import Final

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

_LEAST_GLOBAL_ID: Final = 1 << 42
"""Ids below are the engines' own (``MIN_GLOBAL_ID``: 2^42 once, 2^40 since 39-bit timestamps)."""
_ID_END: Final = 1 << 63
_UNFINISHED: Final = frozenset({None, "length", "not_finished"})


def draw_request_id() -> int:
    """An id for both legs, unique among all that use the same workers: 2^42 .. 2^63 - 1."""
    return _LEAST_GLOBAL_ID + secrets.randbelow(_ID_END - _LEAST_GLOBAL_ID)


class TrtllmContract:
    """See :class:`~frontend.orchestrate.contract.Contract`."""

    def __init__(self, draw: Callable[[], int] = draw_request_id) -> None:
        self._draw = draw

    def refuses(self, api: Api, body: Body) -> Reason | None:
        """Its own orchestrator, too, takes answers of one choice only."""
        return one_sequence(api, body) if api in {Api.CHAT, Api.COMPLETIONS} else Reason.API

    def prefill(self, api: Api, body: Body) -> Body:  # noqa: ARG002 -- the same in every API it has
        """Limits stay: the engine knows that a context ends after one token."""
        params = {"request_type": "context_only", "disagg_request_id": self._draw()}
        return whole(body).replace(disaggregated_params=params)

    def hand_over(self, api: Api, body: Body, answer: bytes) -> Next:
        """A context that ended for another reason than its length has finished the request."""
        seen = read_answer(answer)
        if len(seen.choices) != 1:
            raise no_handover("The prefill worker did not answer with one choice.")
        choice = seen.choices[0]
        if choice.finish_reason not in _UNFINISHED:
            return Terminal(_without_params(body_of(answer)))
        if is_null(choice.disaggregated_params):
            raise no_handover("The prefill worker handed nothing over.")
        params = body_of(bytes(choice.disaggregated_params)).replace(request_type="generation_only")
        decode = body.replace(disaggregated_params=msgspec.Raw(params.encode()))
        if is_null(seen.prompt_token_ids):
            return Decode(decode)
        field = "prompt_token_ids" if api is Api.CHAT else "prompt"
        return Decode(decode.replace(**{field: seen.prompt_token_ids}))


def _without_params(answer: Body) -> Body:
    choices = answer.get("choices", list[dict[str, msgspec.Raw]]) or []
    for choice in choices:
        choice.pop("disaggregated_params", None)
    return answer.replace(choices=choices, prompt_token_ids=msgspec.UNSET)
