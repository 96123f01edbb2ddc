"""A request as a worker gets it."""

from typing import Final

import msgspec

from epp.core.headers import CLIENT_PINS, GATEWAY_ONLY, REQUEST_ID
from epp.core.outcomes import HeaderPairs
from frontend.body import Body
from frontend.config.model import ToleranceConfig
from frontend.http.api import Limits, UpstreamRequest
from frontend.pipeline.call import Call, Leg
from frontend.relay.hops import HOP_BY_HOP, of_this_connection

RANK: Final = "x-data-parallel-rank"
"""How vLLM and SGLang are told a data-parallel rank."""
_DROPPED: Final = (
    HOP_BY_HOP
    | CLIENT_PINS
    | GATEWAY_ONLY
    | {
        "accept-encoding",  # answers must stay readable for whoever has to read them
        "content-length",
        "expect",
        "host",
        "x-epp-degraded",
    }
)
_OURS: Final = ("nvext", "routing")
"""Fields of a body that speak to the frontend alone; ``nvext`` can hold a whole prompt's token ids."""


def worker_request(call: Call, leg: Leg, body: Body, limits: Limits) -> UpstreamRequest:
    """``body`` for ``leg``, with the headers of ``call``."""
    return UpstreamRequest(
        host_port=leg.endpoint.host_port,
        method="POST",
        path=call.path,
        headers=worker_headers(call, leg),
        body=engine_body(body).encode(),
        limits=limits,
    )


def worker_headers(call: Call, leg: Leg) -> HeaderPairs:
    """The client's headers without those of connections and routing, then ours."""
    headers, ours = call.headers, call.forward_headers
    dropped = _DROPPED | of_this_connection(headers) if "connection" in headers else _DROPPED
    pairs = [(name, value) for name, value in headers.items() if name not in dropped and name not in ours]
    pairs.extend(ours.items())
    if REQUEST_ID not in ours and REQUEST_ID not in headers:
        pairs.append((REQUEST_ID, call.request_id))
    rank = leg.told_rank
    if rank is not None:
        pairs.append((RANK, str(rank)))
    return tuple(pairs)


def engine_body(body: Body) -> Body:
    """Without the fields that are ours."""
    if not any(name in body for name in _OURS):
        return body
    return body.replace(**{name: msgspec.UNSET for name in _OURS if name in body})


def limits_of(config: ToleranceConfig) -> Limits:
    """Deadlines of one call to a worker."""
    return Limits(config.connect_timeout_s, config.response_timeout_s, config.idle_timeout_s)
