"""The gateway's side of an ext_proc stream as a script: for tests of the door without a socket."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Final

from envoy.service.ext_proc.v3 import external_processor_pb2

from epp.core.events import Modes

_messages: Final[Any] = external_processor_pb2  # built at run time: no checker knows its classes
END: Final = object()
"""In a script: the gateway half-closes."""


class ScriptedCall:
    """Gives scripted messages one by one, then waits for ever; keeps what was written, parsed."""

    def __init__(self, script: Iterable[object], before_read: Callable[[int], None] | None = None) -> None:
        """``before_read`` is called with the number of each read, before the message is given."""
        self._script = deque(script)
        self._before_read = before_read
        self._reads = 0
        self.written: list[Any] = []
        """``ProcessingResponse`` messages."""

    async def read(self) -> object:
        """The next message; :data:`END` after a half-close."""
        self._reads += 1
        if self._before_read is not None:
            self._before_read(self._reads)
        await asyncio.sleep(0)
        if not self._script:
            await asyncio.get_running_loop().create_future()
        return self._script.popleft()

    async def write(self, message: bytes) -> None:
        """Keep a message."""
        await asyncio.sleep(0)
        self.written.append(_messages.ProcessingResponse.FromString(message))


def request_headers(
    headers: dict[str, str], *, end_of_stream: bool = False, modes: Modes | None = None
) -> bytes:
    """A serialized head of a request, values raw as Envoy writes them."""
    request = _messages.ProcessingRequest()
    for name, value in headers.items():
        request.request_headers.headers.headers.add(key=name, raw_value=value.encode())
    request.request_headers.end_of_stream = end_of_stream
    if modes is not None:
        request.protocol_config.request_body_mode = modes.request
        request.protocol_config.response_body_mode = modes.response
    return _serialized(request)


def request_body(data: bytes, *, end_of_stream: bool = False) -> bytes:
    """A serialized piece of a request body."""
    return _serialized(
        _messages.ProcessingRequest(request_body={"body": data, "end_of_stream": end_of_stream})
    )


def response_headers(status: int = 200, *, end_of_stream: bool = False) -> bytes:
    """A serialized head of a response."""
    request = _messages.ProcessingRequest()
    request.response_headers.headers.headers.add(key=":status", raw_value=str(status).encode())
    request.response_headers.end_of_stream = end_of_stream
    return _serialized(request)


def _serialized(message: Any) -> bytes:
    data: bytes = message.SerializeToString()
    return data
