"""The event sockets of one rank, as vLLM's publisher opens them.

PUB sends ``[topic, sequence (8 bytes, big endian), payload]``. ROUTER takes ``[sequence]`` as the first one
wanted and answers ``[b"", topic, sequence, payload]`` per batch, then ``[b"", b"", ff*8, b""]``. The buffer
holds the newest ``buffer_batches``; older ones are gone, as from a real engine.
"""

from collections import deque
from collections.abc import Sequence
from typing import Any

import zmq
import zmq.asyncio

END_MARKER = b"\xff" * 8
_LOOPBACK = "tcp://127.0.0.1"
_SEQUENCE_BYTES = 8


class ReplayBuffer:
    """The newest batches and their numbers."""

    def __init__(self, batches: int) -> None:
        self._batches: deque[tuple[int, bytes]] = deque(maxlen=batches)
        self._next = 0

    def append(self, payload: bytes) -> int:
        """Keep a payload; returns its number, from 0."""
        number = self._next
        self._batches.append((number, payload))
        self._next += 1
        return number

    def since(self, first: int) -> list[tuple[int, bytes]]:
        """Batches numbered ``first`` and later that are still here."""
        return [(number, payload) for number, payload in self._batches if number >= first]


def parse_replay_request(frames: Sequence[bytes]) -> tuple[bytes, int] | None:
    """Peer identity and first batch wanted of a ROUTER message; None if it is not one.

    A REQ peer sends ``[identity, b"", number]``; a DEALER may do the same.
    """
    if len(frames) != 3 or frames[1] or len(frames[2]) != _SEQUENCE_BYTES:
        return None
    return frames[0], int.from_bytes(frames[2], "big")


class Publisher:
    """PUB and ROUTER of one rank on loopback ports, 0 meaning the kernel's choice."""

    def __init__(self, *, topic: str, buffer_batches: int, pub_port: int = 0, replay_port: int = 0) -> None:
        self._topic = topic.encode()
        self._buffer = ReplayBuffer(buffer_batches)
        self._plain = zmq.SyncContext()  # a PUB never blocks, so it needs no event loop
        self._context = zmq.asyncio.Context()
        try:
            self._pub = self._plain.socket(zmq.PUB)
            # pyzmq leaves parts of its asyncio types open
            self._router: Any = self._context.socket(zmq.ROUTER)
            self.pub_port = _bind(self._pub, pub_port)
            self.replay_port = _bind(self._router, replay_port)
        except zmq.ZMQError:
            self.close()
            raise

    def publish(self, payload: bytes) -> None:
        """Send one batch and remember it."""
        number = self._buffer.append(payload)
        self._pub.send_multipart((self._topic, number.to_bytes(_SEQUENCE_BYTES, "big"), payload))

    async def serve_replay(self) -> None:
        """Answer replay requests until cancelled; what is not one is ignored."""
        while True:
            request = parse_replay_request(await self._router.recv_multipart())
            if request is not None:
                await self._replay(*request)

    async def _replay(self, peer: bytes, first: int) -> None:
        for number, payload in self._buffer.since(first):
            frame = number.to_bytes(_SEQUENCE_BYTES, "big")
            await self._router.send_multipart((peer, b"", self._topic, frame, payload))
        await self._router.send_multipart((peer, b"", b"", END_MARKER, b""))

    def close(self) -> None:
        """Close both sockets at once; unsent messages are dropped."""
        self._plain.destroy(linger=0)
        self._context.destroy(linger=0)


def _bind(socket: Any, port: int) -> int:
    socket.bind(f"{_LOOPBACK}:{port or '*'}")
    address = socket.getsockopt(zmq.LAST_ENDPOINT)
    assert isinstance(address, bytes)
    return int(address.rpartition(b":")[2])
