"""The direct pipeline's own work per request, without sockets: ``python -m tests.bench segments``.

From bytes and headers at hand to the last piece handed on; the worker is a coroutine that answers at once.
CPU time of this thread, the least of several rounds: what the code costs, not what shared the machine. One
JSON object per line; ``us_per_piece`` is the slope between answers of one and of 101 pieces.
"""

import asyncio
import json
import time
from collections.abc import Mapping
from typing import Final

from epp.core.requests import Api
from frontend.body import Body
from frontend.config.model import FrontendConfig, PipelineConfig
from frontend.http.api import UpstreamRequest
from frontend.nvext import NvExtRequest
from frontend.pipeline.build import Pipeline, build_pipeline
from frontend.pipeline.call import Call
from tests.unit.frontend.fakes import FakeReply, FakeResponse, FakeUpstream, components, worker

ROUNDS: Final = 5
REQUESTS: Final = 4000
WORKERS: Final = 32
PIECES: Final = (1, 101)
PIECE: Final = b"data: " + b"x" * 200 + b"\n\n"
BODY: Final = b'{"model":"m","stream":true,"messages":[{"role":"user","content":"%b"}]}' % (b"x" * 1000)
HEADERS: Final[Mapping[str, str]] = {
    "host": "front.example.com",
    "content-type": "application/json",
    "content-length": str(len(BODY)),
    "user-agent": "bench/1",
    "accept": "*/*",
    "authorization": "Bearer key",
    "x-request-id": "3d9b5452-e296-47a8-9008-ecf17b559d6d",
    "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    "x-dynamo-worker-instance-id": "7",
    "x-dynamo-dp-rank": "0",
    "x-dynamo-routing-mode": "aggregated",
    "x-gateway-destination-endpoint": "10.0.0.7:8000",
}
_SSE: Final = {"content-type": "text/event-stream; charset=utf-8", "server": "uvicorn"}


def _call() -> Call:
    return Call(
        api=Api.CHAT,
        path="/v1/chat/completions",
        headers=HEADERS,
        body=Body(BODY),
        request_id="3d9b5452",
        arrived_s=0.0,
        model="m",
        stream=True,
        nvext=NvExtRequest(),
    )


def _pipeline(pieces: int) -> Pipeline:
    answer = (PIECE,) * pieces

    def said(_request: UpstreamRequest) -> FakeResponse:
        return FakeResponse(200, answer, _SSE)

    pool = components(
        *(worker(n) for n in range(1, WORKERS + 1)), upstream=FakeUpstream(said), clock=time.monotonic
    )
    return build_pipeline(FrontendConfig(pipeline=PipelineConfig(router_mode="direct")), pool)


class _Unread(FakeReply):
    """A reply that keeps nothing: fakes must not be what is measured."""

    def data(self, piece: bytes) -> None:
        pass


async def _us_per_request(pieces: int) -> float:
    pipeline = _pipeline(pieces)
    rounds: list[float] = []
    for _ in range(ROUNDS):
        began_s = time.thread_time()
        for _ in range(REQUESTS):
            await pipeline.handle(_call(), _Unread())
        rounds.append((time.thread_time() - began_s) / REQUESTS * 1e6)
    return min(rounds)


def main() -> None:
    """Measure and print."""
    few, many = (asyncio.run(_us_per_request(pieces)) for pieces in PIECES)
    per_piece = (many - few) / (PIECES[1] - PIECES[0])
    print(json.dumps({"bench": "segments", "mode": "direct", "us_per_request": round(few, 1)}))
    print(json.dumps({"bench": "segments", "mode": "direct", "us_per_piece": round(per_piece, 3)}))


if __name__ == "__main__":
    main()
