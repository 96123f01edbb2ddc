"""The floor of the transport: the smallest honest ext_proc server on grpc.aio, uvloop and upb messages.

It picks round-robin, gives the body back and does nothing else: no JSON, no tokens, no ledger. What a
picker costs above it is what the picker adds. ``python -m tests.bench.bare HOST:PORT...``.
"""

import itertools
import json
import sys
from collections.abc import AsyncIterator
from typing import Any

import grpc
import uvloop
from envoy.service.ext_proc.v3 import external_processor_pb2 as pb

_CHUNK_BYTES = 62_000
_METHOD = "envoy.service.ext_proc.v3.ExternalProcessor"


class _Bare:
    def __init__(self, endpoints: list[str]) -> None:
        self._turn = itertools.cycle(endpoints)

    async def process(self, requests: AsyncIterator[Any], _context: object) -> AsyncIterator[Any]:
        body = bytearray()
        async for request in requests:
            kind = request.WhichOneof("request")
            if kind == "request_headers" and request.request_headers.end_of_stream:
                yield self._headers()
            elif kind == "request_body":
                body += request.request_body.body
                if request.request_body.end_of_stream:
                    yield self._headers()
                    for chunk in _chunks(bytes(body)):
                        yield chunk
            elif kind == "response_headers":
                yield pb.ProcessingResponse(response_headers=pb.HeadersResponse())
            elif kind == "response_body":
                yield _given_back(request.response_body)
            elif kind == "response_trailers":
                yield pb.ProcessingResponse(response_trailers=pb.TrailersResponse())

    def _headers(self) -> Any:
        endpoint = next(self._turn)
        answer = pb.ProcessingResponse()
        common = answer.request_headers.response
        common.clear_route_cache = True
        option = common.header_mutation.set_headers.add()
        option.header.key = "x-gateway-destination-endpoint"
        option.header.raw_value = endpoint.encode()
        answer.dynamic_metadata["envoy.lb"] = {"x-gateway-destination-endpoint": endpoint}
        return answer


def _given_back(piece: Any) -> Any:
    answer = pb.ProcessingResponse()
    streamed = answer.response_body.response.body_mutation.streamed_response
    streamed.body = piece.body
    streamed.end_of_stream = piece.end_of_stream
    return answer


def _chunks(body: bytes) -> list[Any]:
    answers = []
    for start in range(0, max(1, len(body)), _CHUNK_BYTES):
        answer = pb.ProcessingResponse()
        streamed = answer.request_body.response.body_mutation.streamed_response
        streamed.body = body[start : start + _CHUNK_BYTES]
        streamed.end_of_stream = start + _CHUNK_BYTES >= len(body)
        answers.append(answer)
    return answers


async def _serve(endpoints: list[str]) -> None:
    server = grpc.aio.server(options=[("grpc.max_receive_message_length", 64 << 20)])
    handler = grpc.stream_stream_rpc_method_handler(
        _Bare(endpoints).process,
        request_deserializer=pb.ProcessingRequest.FromString,
        response_serializer=pb.ProcessingResponse.SerializeToString,
    )
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(_METHOD, {"Process": handler}),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(json.dumps({"event": "ready", "grpc_port": port}), flush=True)
    await server.wait_for_termination()


if __name__ == "__main__":
    uvloop.run(_serve(sys.argv[1:]))
