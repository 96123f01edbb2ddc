"""The smallest picker that keeps every rule, in pieces that can be broken one by one."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import grpc
from envoy.service.ext_proc.v3 import external_processor_pb2 as pb
from google.protobuf.message import DecodeError
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

ENDPOINTS: Final = ("127.0.0.1:8101", "127.0.0.1:8102", "127.0.0.2:8101")
SERVICE: Final = "envoy.service.ext_proc.v3.ExternalProcessor"
DESTINATION: Final = "x-gateway-destination-endpoint"
STREAMED, BUFFERED, DUPLEX = 1, 2, 4
PIECE_BYTES = 62_000


@dataclass
class Seen:
    """What is known of one request."""

    headers: dict[str, str] = field(default_factory=dict)
    request_mode: int = DUPLEX
    response_mode: int = DUPLEX
    subset: tuple[str, ...] | None = None
    body: bytearray = field(default_factory=bytearray)
    head_answered: bool = False
    answered: bool = False


class TinyPicker:
    """Round robin; a rule of the protocol per method."""

    health_names: Sequence[str] = ("", "liveness", "readiness", SERVICE, "inference-extension")

    def __init__(self, endpoints: Sequence[str] = ENDPOINTS) -> None:
        self.endpoints = endpoints
        self.turn = itertools.count()

    # --- choosing ------------------------------------------------------------------------------------------

    def allowed(self, seen: Seen) -> list[str]:
        chosen = list(self.endpoints)
        for hint in (seen.subset, self.selection(seen)):
            if hint is not None:
                chosen = [endpoint for endpoint in chosen if self.matches(endpoint, hint)]
        return chosen

    def matches(self, endpoint: str, hint: Sequence[str]) -> bool:
        return endpoint in hint or endpoint.rpartition(":")[0] in hint

    def selection(self, seen: Seen) -> list[str] | None:
        header = seen.headers.get("test-epp-endpoint-selection")
        return [entry.strip() for entry in header.split(",")] if header else None

    def destination(self, seen: Seen) -> str | None:
        allowed = self.allowed(seen)
        return allowed[next(self.turn) % len(allowed)] if allowed else None

    def verdict(self, _seen: Seen) -> int | None:
        """A status to refuse with before choosing."""
        return None

    # --- the request's answers -----------------------------------------------------------------------------

    async def think(self, _seen: Seen) -> None:
        """What takes time."""

    async def answers(self, seen: Seen, *, body: bool, ended: bool, trailers: bool) -> list[Any]:
        await self.think(seen)
        destination = self.destination(seen)
        status = self.verdict(seen) or (None if destination else self.refusal_status(seen))
        if status is not None:
            return [self.immediate(status)]
        assert destination is not None
        steered = self.common(seen, destination)
        messages: list[Any] = []
        if not seen.head_answered:
            head = pb.ProcessingResponse(request_headers={"response": steered})
            messages.append(self.with_metadata(head, destination))
        if body and seen.request_mode == DUPLEX:
            messages += [
                pb.ProcessingResponse(request_body={"response": common})
                for common in self.pieces(bytes(seen.body), ended=ended)
            ]
        elif body:
            answer = pb.ProcessingResponse(request_body={"response": self.buffered_body(seen, steered)})
            messages.append(self.with_metadata(answer, destination))
        if trailers:
            messages.append(pb.ProcessingResponse(request_trailers={}))
        return messages

    def refusal_status(self, _seen: Seen) -> int:
        return 503

    def immediate(self, status: int) -> Any:
        return pb.ProcessingResponse(immediate_response={"status": {"code": status}})

    def common(self, _seen: Seen, destination: str) -> Any:
        common = pb.CommonResponse()
        self.set_header(common, DESTINATION, destination)
        return common

    def set_header(self, common: Any, name: str, value: str) -> None:
        option = common.header_mutation.set_headers.add()
        option.header.key, option.header.raw_value = name, value.encode()
        option.append_action = 2

    def with_metadata(self, message: Any, destination: str) -> Any:
        message.dynamic_metadata.update({"envoy.lb": {DESTINATION: destination}})
        return message

    def buffered_body(self, _seen: Seen, steered: Any) -> Any:
        return steered

    def pieces(self, data: bytes, *, ended: bool) -> list[Any]:
        starts = range(0, max(len(data), 1), PIECE_BYTES)
        return [
            self.piece(data[at : at + PIECE_BYTES], ended=ended and at + PIECE_BYTES >= len(data))
            for at in starts
        ]

    def piece(self, data: bytes, *, ended: bool) -> Any:
        return pb.CommonResponse(body_mutation={"streamed_response": {"body": data, "end_of_stream": ended}})

    # --- the response's answers ----------------------------------------------------------------------------

    def response_head(self, seen: Seen, message: Any) -> list[Any]:
        common = pb.CommonResponse()
        fields = message.metadata_context.filter_metadata["envoy.lb"].fields
        served = fields["x-gateway-destination-endpoint-served"].string_value
        if served:
            self.set_header(common, "x-conformance-test-served-endpoint", served)
        return [pb.ProcessingResponse(response_headers={"response": common})]

    def response_body(self, seen: Seen, message: Any) -> list[Any]:
        body = message.response_body
        if seen.response_mode != DUPLEX:
            return [pb.ProcessingResponse(response_body={})]
        commons = self.pieces(body.body, ended=body.end_of_stream)
        return [pb.ProcessingResponse(response_body={"response": common}) for common in commons]

    # --- the stream ----------------------------------------------------------------------------------------

    async def process(self, _requests: object, context: Any) -> None:
        seen = Seen()
        while isinstance(data := await context.read(), bytes):
            try:
                message = pb.ProcessingRequest.FromString(data)
            except DecodeError:
                return
            kind = message.WhichOneof("request")
            if kind is None or (kind != "request_headers" and not seen.headers):
                return
            for answer in await self.received(seen, kind, message):
                await context.write(answer.SerializeToString())

    async def received(self, seen: Seen, kind: str, message: Any) -> list[Any]:
        hint = message.metadata_context.filter_metadata["envoy.lb.subset_hint"].fields
        if kind.startswith("request") and "x-gateway-destination-endpoint-subset" in hint:
            seen.subset = self.read_hint(hint["x-gateway-destination-endpoint-subset"])
        if kind == "request_headers":
            return await self.request_head(seen, message)
        if kind == "request_body":
            return await self.request_body(seen, message)
        if kind == "request_trailers":
            return await self.request_trailers(seen)
        if kind == "response_headers":
            return self.response_head(seen, message)
        if kind == "response_body":
            return self.response_body(seen, message)
        return [pb.ProcessingResponse(response_trailers={})]

    def read_hint(self, value: Any) -> tuple[str, ...]:
        if value.WhichOneof("kind") == "string_value":
            return tuple(entry.strip() for entry in value.string_value.split(","))
        return tuple(item.string_value for item in value.list_value.values)

    async def request_head(self, seen: Seen, message: Any) -> list[Any]:
        head = message.request_headers
        seen.headers = {header.key: header.raw_value.decode() for header in head.headers.headers}
        if message.HasField("protocol_config"):
            seen.request_mode = message.protocol_config.request_body_mode
            seen.response_mode = message.protocol_config.response_body_mode
        if head.end_of_stream:
            return await self.answers(seen, body=False, ended=False, trailers=False)
        if seen.request_mode == BUFFERED:
            seen.head_answered = True
            return [pb.ProcessingResponse(request_headers={})]
        return []

    async def request_body(self, seen: Seen, message: Any) -> list[Any]:
        if seen.answered:
            return []
        seen.body += message.request_body.body
        if not message.request_body.end_of_stream:
            return []
        seen.answered = True
        return await self.answers(seen, body=True, ended=True, trailers=False)

    async def request_trailers(self, seen: Seen) -> list[Any]:
        seen.answered = True
        return await self.answers(seen, body=True, ended=False, trailers=True)

    # --- the server ----------------------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def serving(self, credentials: grpc.ServerCredentials | None = None) -> AsyncIterator[int]:
        """The port it listens on."""
        server = grpc.aio.server(options=(("grpc.so_reuseport", 0), ("grpc.max_receive_message_length", -1)))
        handler = grpc.stream_stream_rpc_method_handler(self.process)
        server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(SERVICE, {"Process": handler}),)
        )
        board = health.aio.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(board, server)
        await board.set("", health_pb2.HealthCheckResponse.NOT_SERVING)
        for name in self.health_names:
            await board.set(name, health_pb2.HealthCheckResponse.SERVING)
        port = (
            server.add_secure_port("127.0.0.1:0", credentials)
            if credentials
            else server.add_insecure_port("127.0.0.1:0")
        )
        await server.start()
        try:
            yield port
        finally:
            await asyncio.wait_for(server.stop(0), 60)
