"""The ext_proc door alone, with an engine that picks round-robin: ``python -m tests.bench.door ADDRESS...``.

Beside ``tests.bench.bare`` it shows what the door's own protocol machinery costs.
"""

import asyncio
import itertools
import json
import sys

import uvloop

from epp.config.model import ServerConfig, TlsConfig
from epp.core.outcomes import Ending, Picked, PickInput, PickOutcome, ResponseFacts
from epp.extproc.aio.server import ExtProcServer
from epp.extproc.metrics import NullMetrics


class _RoundRobin:
    def __init__(self, endpoints: list[str]) -> None:
        self._turn = itertools.cycle(endpoints)

    async def pick(self, request: PickInput) -> PickOutcome:
        return Picked(destinations=(next(self._turn),), request_id=request.request_id)

    def finish(self, picked: Picked, ending: Ending, facts: ResponseFacts) -> None:
        """Nothing was booked."""


async def _serve(endpoints: list[str]) -> None:
    tls = TlsConfig(enabled=False)
    config = ServerConfig(bind_address="127.0.0.1", grpc_port=0, grpc_health_port=0, tls=tls)
    server = ExtProcServer(_RoundRobin(endpoints), config, NullMetrics())
    ports = await server.start()
    server.set_ready(True)
    print(json.dumps({"event": "ready", "grpc_port": ports.grpc}), flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(_serve(sys.argv[1:]))
