"""A request as a worker gets it."""

from typing import Final

import msgspec

from epp.core.headers import GATEWAY_ONLY, REQUEST_ID, steering
from epp.core.outcomes import HeaderPairs
from epp.core.requests import Api
from frontend.body import Body
from frontend.config.model import ToleranceConfig
from frontend.http.api import Limits, UpstreamRequest
from frontend.pipeline.call import Call, Leg
from frontend.relay.hops import HOP_BY_HOP, of_this_connection

RANK: Final = "x-data-parallel-rank"
"""How vLLM and SGLang are told a data-parallel rank."""
_DROPPED: Final = (
    HOP_BY_HOP
    | GATEWAY_ONLY
    | {
        "accept-encoding",  # answers must stay readable for whoever has to read them
        "content-length",
        "expect",
        "host",
    }
)
_OURS: Final = ("nvext", "router_config_override", "routing")
"""Fields of a body that speak to the frontend alone; ``nvext`` can hold a whole prompt's token ids."""


def worker_request(call: Call, leg: Leg, body: Body, limits: Limits) -> UpstreamRequest:
    """``body`` for ``leg``, with the headers of ``call``."""
    return UpstreamRequest(
        host_port=leg.endpoint.host_port,
        method="POST",
        path=call.path,
        headers=worker_headers(call, leg),
        body=_ranked(call.api, engine_body(body), leg).encode(),
        limits=limits,
    )


def worker_headers(call: Call, leg: Leg) -> HeaderPairs:
    """The client's headers without those of connections and steering, then ours. Steering ends here even for
    trusted clients: what they said is in ``leg``."""
    headers, ours = call.headers, call.forward_headers
    dropped = _DROPPED | steering(headers)
    if "connection" in headers:
        dropped |= of_this_connection(headers)
    pairs = [(name, value) for name, value in headers.items() if name not in dropped and name not in ours]
    pairs.extend(ours.items())
    if REQUEST_ID not in ours and REQUEST_ID not in headers:
        pairs.append((REQUEST_ID, call.request_id))
    rank = leg.told_rank
    if rank is not None:
        pairs.append((RANK, str(rank)))
    return tuple(pairs)


def _ranked(api: Api, body: Body, leg: Leg) -> Body:
    """SGLang's own API takes the rank from the body alone, its OpenAI APIs from the header too."""
    if api is not Api.SGLANG_GENERATE or leg.told_rank is None:
        return body
    return body.replace(routed_dp_rank=leg.told_rank)


def engine_body(body: Body) -> Body:
    """Without the fields that are ours."""
    if not any(name in body for name in _OURS):
        return body
    return body.replace(**{name: msgspec.UNSET for name in _OURS if name in body})


def limits_of(config: ToleranceConfig) -> Limits:
    """Deadlines of one call to a worker."""
    return Limits(config.connect_timeout_s, config.response_timeout_s, config.idle_timeout_s)
