"""Records conversations with a real Envoy; see README.md."""

import asyncio
import base64
import dataclasses
import json
from pathlib import Path
from typing import Any

import httpx

from epp.config.model import ServerConfig, TlsConfig
from epp.core.outcomes import Picked, PickInput
from epp.extproc.aio import server as server_module
from epp.extproc.aio.stream import Call, Stream
from epp.extproc.metrics import NullMetrics
from epp.testing.backend import EchoBackend
from epp.testing.envoy import EnvoyProcess
from epp.testing.envoy_config import BodyModeName, EnvoyOptions, Upstream
from epp.testing.picks import ScriptedEngine

FOLDER = Path(__file__).parent
DUPLEX, BUFFERED, NONE = BodyModeName.FULL_DUPLEX_STREAMED, BodyModeName.BUFFERED, BodyModeName.NONE
VARIANTS = {
    "duplex": EnvoyOptions((), request_body=DUPLEX, response_body=NONE),
    "buffered": EnvoyOptions((), request_body=BUFFERED, response_body=NONE),
    "istio-like": EnvoyOptions(
        (), request_body=DUPLEX, response_body=DUPLEX, upstream=Upstream.OVERRIDE_HOST
    ),
}
REQUESTS: dict[str, dict[str, Any]] = {
    "get": {"method": "GET"},
    "post": {"method": "POST", "content": b'{"model": "m", "prompt": "hello"}'},
    "long-post": {"method": "POST", "content": b"x" * 62_500},
    "events": {"method": "POST", "content": b"{}", "headers": {"x-events": "3"}},
}


class Recorder:
    """A call that keeps what passes."""

    def __init__(self, call: Call) -> None:
        self.call = call
        self.received: list[str] = []
        self.sent: list[str] = []

    async def read(self) -> object:
        message = await self.call.read()
        if isinstance(message, bytes):
            self.received.append(base64.b64encode(message).decode())
        return message

    async def write(self, message: bytes) -> None:
        self.sent.append(base64.b64encode(message).decode())
        await self.call.write(message)


async def record(name: str, options: EnvoyOptions) -> None:
    recorders: list[Recorder] = []

    def recorded(call: Call, *arguments: Any) -> Stream:
        recorders.append(Recorder(call))
        return Stream(recorders[-1], *arguments)

    server_module.Stream = recorded  # type: ignore[assignment,misc]
    config = ServerConfig(
        bind_address="127.0.0.1", grpc_port=0, grpc_health_port=0, tls=TlsConfig(enabled=False)
    )
    async with EchoBackend() as backend:

        def answer(request: PickInput) -> Picked:
            return Picked((backend.host_port,), request.request_id, (("x-dynamo-worker-instance-id", "7"),))

        server = server_module.ExtProcServer(ScriptedEngine(answer), config, NullMetrics())
        ports = await server.start()
        options = dataclasses.replace(options, pickers=[ports.grpc], endpoints=[backend.host_port])
        async with EnvoyProcess(options) as envoy, httpx.AsyncClient() as client:
            client.headers["user-agent"] = "recorder"
            for arguments in REQUESTS.values():
                await client.request(url=f"http://127.0.0.1:{envoy.port}/v1/completions", **arguments)
        await server.stop()
        conversations = [
            {"request": request, "destination": backend.host_port, "received": r.received, "sent": r.sent}
            for request, r in zip(REQUESTS, recorders, strict=True)
        ]
    (FOLDER / f"{name}.json").write_text(json.dumps(conversations, indent=1) + "\n")


async def main() -> None:
    for name, options in VARIANTS.items():
        await record(name, options)


if __name__ == "__main__":
    asyncio.run(main())
