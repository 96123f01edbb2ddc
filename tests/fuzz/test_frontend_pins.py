"""Whatever a client writes where workers are named: a route, or an ApiError that blames the right party."""

import asyncio
import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from epp.core.requests import NvExt
from frontend.body import Body
from frontend.config.model import DisaggConfig
from frontend.errors import ApiError
from frontend.nvext import NvExtRequest
from frontend.pipeline.call import Call, Route
from frontend.routing.direct import DirectRouter
from frontend.routing.known import PREFILLER_ADDRESS
from frontend.routing.pins import PIN_HEADERS
from tests.unit.frontend.fakes import PAIRS, call, components, worker

NAMES = st.sampled_from(
    sorted({*PIN_HEADERS, PREFILLER_ADDRESS, "x-gateway-destination-endpoint", "x-dynamo-routing-mode"})
)
NUMBERS = st.sampled_from(
    ["0", "1", "2", "3", "4", "9", "4294967295", str(2**64), "aggregated", "10.0.0.1:8000"]
)
HEADERS = st.dictionaries(NAMES, NUMBERS | st.text(max_size=30), max_size=5)
VALUES = st.none() | st.booleans() | st.integers() | st.text(max_size=4) | st.integers(0, 5)
FIELDS = st.sampled_from(
    ["backend_instance_id", "decode_worker_id", "prefill_worker_id", "dp_rank", "prefill_dp_rank", "odd"]
)
ROUTING = VALUES | st.lists(VALUES, max_size=2) | st.dictionaries(FIELDS, VALUES, max_size=4)
IDS = st.none() | st.integers(0, 6)
NVEXT = st.builds(
    NvExt,
    backend_instance_id=IDS,
    prefill_worker_id=IDS,
    decode_worker_id=IDS,
    dp_rank=IDS,
    prefill_dp_rank=IDS,
)
PARTS = components(*PAIRS, worker(5, dp_size=3))


def found(request: Call) -> Route | None:
    """None: refused, and the request was blamed."""
    try:
        return asyncio.run(DirectRouter(PARTS, DisaggConfig()).route(request))
    except ApiError as refused:
        if refused.status != 400:
            raise
        return None


@given(headers=HEADERS, routing=ROUTING, nvext=NVEXT)
def test_naming_workers_is_total(headers: dict[str, str], routing: Any, nvext: NvExt) -> None:
    request: Call = call(headers=headers, nvext=NvExtRequest(routing=nvext, present=True))
    request.body = Body(json.dumps({"model": "m", "routing": routing}).encode())
    route = found(request)
    if route is None:
        return
    known = PARTS.snapshot().by_worker
    assert known[route.worker.endpoint.worker_id].role in ("aggregated", "decode")
    assert route.worker.rank < route.worker.endpoint.dp_size
    if route.prefill is not None:
        assert known[route.prefill.endpoint.worker_id].role == "prefill"
