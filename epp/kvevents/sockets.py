"""ZMQ sockets on the event loop, without a thread and without a future per message.

libzmq tells through one file descriptor per socket that *something* changed, once per change. So whoever
is woken must read until there is no more, or come back by itself. :class:`SocketReader` reads a slice of
messages per wake-up and then lets the loop run its other work, so a flood of events delays a pick by a
slice, not by the flood.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import zmq

SLICE_S: Final = 0.002
"""Longest the loop is held for one socket's messages before others get their turn."""
_HEARTBEAT_MS: Final = 10_000
_HEARTBEAT_TIMEOUT_MS: Final = 30_000
_RECONNECT_MS: Final = 100
_RECONNECT_MAX_MS: Final = 5_000
_MONITORED: Final = zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED

ZmqSocket: TypeAlias = "zmq.Socket[bytes]"
OnFrames: TypeAlias = Callable[[list[bytes]], None]
OnError: TypeAlias = Callable[[Exception], None]


def new_context(sockets: int) -> "zmq.Context[ZmqSocket]":
    """A context with room for this many sockets."""
    context: zmq.Context[ZmqSocket] = zmq.Context()
    context.set(zmq.MAX_SOCKETS, sockets)
    return context


@dataclass(frozen=True, slots=True)
class Bounds:
    """What one socket may hold."""

    message_bytes: int
    """Larger messages cut the connection."""
    messages: int
    """Received and not read yet; a publisher drops what comes on top."""


def connect(context: "zmq.Context[ZmqSocket]", kind: int, address: str, bounds: Bounds) -> ZmqSocket:
    """A connecting socket; raises zmq.ZMQError."""
    socket = _unconnected(context, kind, bounds)
    try:
        socket.connect(address)
    except BaseException:
        socket.close()
        raise
    return socket


def connect_monitored(
    context: "zmq.Context[ZmqSocket]", kind: int, address: str, bounds: Bounds
) -> tuple[ZmqSocket, ZmqSocket]:
    """A connecting socket, and one that tells when it got or lost its peer; raises zmq.ZMQError.

    The second is there before the first connects: nobody is told later of a peer that was quicker.
    """
    socket = _unconnected(context, kind, bounds)
    events = socket.get_monitor_socket(_MONITORED)
    try:
        socket.connect(address)
    except BaseException:
        socket.disable_monitor()
        events.close()
        socket.close()
        raise
    return socket, events


def _unconnected(context: "zmq.Context[ZmqSocket]", kind: int, bounds: Bounds) -> ZmqSocket:
    socket = context.socket(kind)
    try:
        socket.linger = 0
        socket.setsockopt(zmq.IPV6, 1)
        socket.setsockopt(zmq.MAXMSGSIZE, bounds.message_bytes)
        socket.setsockopt(zmq.RCVHWM, bounds.messages)
        socket.setsockopt(zmq.HEARTBEAT_IVL, _HEARTBEAT_MS)  # notices a peer that vanished without a FIN
        socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, _HEARTBEAT_TIMEOUT_MS)
        socket.setsockopt(zmq.RECONNECT_IVL, _RECONNECT_MS)
        socket.setsockopt(zmq.RECONNECT_IVL_MAX, _RECONNECT_MAX_MS)
        if kind == zmq.SUB:
            socket.setsockopt(zmq.SUBSCRIBE, b"")
    except BaseException:
        socket.close()
        raise
    return socket


class SocketReader:
    """Calls ``on_frames`` with every message of a socket; an exception of it goes to ``on_error``."""

    def __init__(self, socket: ZmqSocket, on_frames: OnFrames, on_error: OnError) -> None:
        self._socket = socket
        self._on_frames = on_frames
        self._on_error = on_error
        self._loop = asyncio.get_running_loop()
        self._fd = int(socket.getsockopt(zmq.FD))
        self._reading = False
        self._again: asyncio.Handle | None = None

    def resume(self) -> None:
        """Read from the next turn of the loop on; messages may be waiting already."""
        if not self._reading:
            self._reading = True
            self._loop.add_reader(self._fd, self._read)
            self._schedule()

    def pause(self) -> None:
        """Leave messages in the socket's queue."""
        if self._reading:
            self._reading = False
            self._loop.remove_reader(self._fd)
        if self._again is not None:
            self._again.cancel()
            self._again = None

    def send(self, frames: Sequence[bytes]) -> None:
        """Queue a message; raises zmq.ZMQError if the queue is full."""
        self._socket.send_multipart(frames, zmq.NOBLOCK)
        self._schedule()  # sending may have eaten the notice of something to read

    def close(self) -> None:
        """Stop reading and close the socket."""
        self.pause()
        self._socket.close()

    def _schedule(self) -> None:
        if self._again is None:
            self._again = self._loop.call_soon(self._read)

    def _read(self) -> None:
        if self._again is not None:
            self._again.cancel()
            self._again = None
        try:
            self._read_slice()
        except Exception as error:  # noqa: BLE001 -- the owner decides; a callback has nobody to raise to
            self._on_error(error)

    def _read_slice(self) -> None:
        until_s = time.monotonic() + SLICE_S
        while self._reading:
            try:
                frames = self._socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            self._on_frames(frames)
            if time.monotonic() > until_s:
                if self._reading:
                    self._schedule()
                return
