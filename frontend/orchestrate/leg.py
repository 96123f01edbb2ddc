"""One prefill leg: the request to the prefill worker, its deadline, its answer."""

import asyncio
from typing import Final

from frontend.body import Body
from frontend.errors import OVERLOADED_STATUS
from frontend.http.api import Failure, Limits, Upstream, UpstreamError, UpstreamResponse
from frontend.orchestrate.failures import PrefillError, Reason, lost
from frontend.pipeline.call import Call, Leg
from frontend.relay.outgoing import worker_request

MAX_ANSWER_BYTES: Final = 64 * 1024 * 1024
"""A prefill's answer is one token and its hand-over: for a million prompt tokens, about 10 MiB of ids."""
_KEPT_STATUSES: Final = frozenset({503, OVERLOADED_STATUS})


async def run(upstream: Upstream, call: Call, leg: Leg, body: Body, timeout_s: float) -> bytes:
    """Send ``body`` to the prefill worker and read its answer. Raises PrefillError; cancelled, it closes the
    connection, which stops the engine."""
    request = worker_request(call, leg, body, Limits(head_s=timeout_s, idle_s=timeout_s))
    try:
        async with asyncio.timeout(timeout_s):
            response = await upstream.send(request)
            answer = await response.read(MAX_ANSWER_BYTES)
    except TimeoutError as error:
        raise lost(Failure.TIMEOUT) from error
    except UpstreamError as error:
        raise lost(error.failure) from error
    if response.status != 200:
        raise _refusal(response, answer)
    return answer


def _refusal(response: UpstreamResponse, answer: bytes) -> PrefillError:
    status = response.status
    if 400 <= status < 500:
        kind = response.headers.get("content-type", "application/json")
        message = "The prefill worker refused the request."
        return PrefillError(
            Reason.REFUSED, message, status=status, headers=(("content-type", kind),), body=answer
        )
    told = status if status in _KEPT_STATUSES else 500
    return PrefillError(Reason.ERROR, "The prefill worker failed.", status=told)
