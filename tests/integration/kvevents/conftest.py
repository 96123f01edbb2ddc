"""A publisher that does what it is told, over real sockets, and a sink that remembers."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager

import msgspec
import pytest
import zmq

from epp.config.model import EventsConfig
from epp.core.endpoints import Endpoint, PoolSnapshot, WorkerRank
from epp.core.router import ApplyReport, KvEvent
from epp.kvevents.sink import NullEventMetrics
from epp.kvevents.subscriber import EventSubscriber
from epp.testing.ports import HeldPort

DEADLINE_S = 60.0
END = b"\xff" * 8


async def eventually(condition: Callable[[], bool]) -> None:
    """Wait until the condition holds; fail after the deadline."""
    async with asyncio.timeout(DEADLINE_S):
        while not condition():
            await asyncio.sleep(0.005)


def payload(name: int) -> bytes:
    event = {"type": "BlockStored", "block_hashes": [name], "token_ids": [name, name], "block_size": 2}
    return msgspec.msgpack.encode([1.0, [event], 0])


class Publisher:
    """One rank's PUB and ROUTER sockets, as vLLM has them."""

    def __init__(self, *, replays: bool = True, with_topic: bool = True, kept: int = 10_000) -> None:
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._replays = replays
        self._with_topic = with_topic
        self._kept = kept
        self._places = HeldPort(), HeldPort()
        self.live_port, self.replay_port = (place.port for place in self._places)
        self.asked: list[int] = []
        self.start()

    def start(self) -> None:
        """Begin a life: an empty buffer, seq 0, the ports of every life."""
        self.seq = 0
        self._buffer: list[tuple[int, bytes]] = []
        self._pub = self._bound(zmq.XPUB, self.live_port)
        self._router = self._bound(zmq.ROUTER, self.replay_port)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._serve_replays, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()
        self._pub.close(linger=0)
        self._router.close(linger=0)

    def close(self) -> None:
        self.stop()
        self._context.destroy(linger=0)
        for place in self._places:
            place.close()

    async def subscribed(self) -> None:
        """Wait until a subscriber is connected and its subscription has arrived."""
        await eventually(lambda: bool(self._pub.poll(0)))
        self._pub.recv()

    def publish(self, name: int, *, lost: bool = False) -> None:
        """One message; ``lost`` on the way, but not from the engine's buffer."""
        frames = [b"", self.seq.to_bytes(8, "big"), payload(name)]
        self._buffer = [*self._buffer, (self.seq, frames[2])][-self._kept :]
        self.seq += 1
        if not lost:
            self._pub.send_multipart(frames)

    def raw(self, frames: Sequence[bytes]) -> None:
        self._pub.send_multipart(frames)

    def _bound(self, kind: int, port: int) -> "zmq.Socket[bytes]":
        socket = self._context.socket(kind)
        socket.linger = 0
        if kind == zmq.XPUB:
            socket.sndhwm = 0
        end_s = time.monotonic() + DEADLINE_S
        while True:
            try:
                socket.bind(f"tcp://127.0.0.1:{port}")
            except zmq.ZMQError as error:
                # libzmq closes the listener of the life before on a thread of its own; the port stays ours.
                if error.errno != zmq.EADDRINUSE or time.monotonic() > end_s:
                    socket.close()
                    raise
                time.sleep(0.005)
            else:
                return socket

    def _serve_replays(self) -> None:
        while not self._stopping.is_set():
            if not self._router.poll(20):
                continue
            peer, empty, start = self._router.recv_multipart()
            self.asked.append(int.from_bytes(start, "big"))
            if self._replays:
                self._answer(peer, empty, int.from_bytes(start, "big"))

    def _answer(self, peer: bytes, empty: bytes, start: int) -> None:
        topic = [b"topic"] if self._with_topic else []
        for seq, body in self._buffer:
            if seq >= start:
                self._router.send_multipart([peer, empty, *topic, seq.to_bytes(8, "big"), body])
        self._router.send_multipart([peer, empty, *([b""] if topic else []), END, b""])


class Sink:
    """Remembers what each rank holds, by the first token of each stored block."""

    def __init__(self) -> None:
        self.views: dict[WorkerRank, list[int]] = {}
        self.drops: list[WorkerRank] = []
        self.broken = False

    def apply_payload(self, target: WorkerRank, payload: bytes, now_s: float) -> ApplyReport:
        if self.broken:
            raise RuntimeError("the sink broke")
        _, events, _ = msgspec.msgpack.decode(payload)
        self.views.setdefault(target, []).extend(event["block_hashes"][0] for event in events)
        return ApplyReport(stored_blocks=len(events))

    def apply(self, target: WorkerRank, events: Sequence[KvEvent], now_s: float) -> ApplyReport:
        self.views.setdefault(target, []).extend(event.engine_hashes[0] for event in events)  # type: ignore[union-attr]
        return ApplyReport(stored_blocks=len(events))

    def drop_blocks(self, target: WorkerRank) -> int:
        self.drops.append(target)
        return len(self.views.pop(target, ()))


class Metrics(NullEventMetrics):
    def __init__(self) -> None:
        self.bad: list[str] = []
        self.reasons: list[str] = []
        self.replays: list[bool] = []
        self.ups: list[bool] = []
        self.silences: list[bool] = []
        self.refusals: list[str] = []

    def malformed(self, target: WorkerRank, message: str) -> None:
        self.bad.append(message)

    def replay_ended(self, target: WorkerRank, *, filled: bool) -> None:
        self.replays.append(filled)

    def dropped(self, target: WorkerRank, reason: str, blocks: int) -> None:
        self.reasons.append(reason)

    def connected(self, target: WorkerRank, *, up: bool) -> None:
        self.ups.append(up)

    def silent(self, target: WorkerRank, *, silent: bool) -> None:
        self.silences.append(silent)

    def refused(self, target: WorkerRank, reason: str) -> None:
        self.refusals.append(reason)


class Listening:
    """A running subscriber with all that surrounds it."""

    def __init__(self, config: EventsConfig) -> None:
        self.sink = Sink()
        self.metrics = Metrics()
        self.reports: list[WorkerRank] = []
        self.now_s = 0.0
        self.subscriber = EventSubscriber(
            config, self.sink, self.metrics, on_report=lambda target, _: self.reports.append(target)
        )

    def view(self, worker_id: int = 1, rank: int = 0) -> list[int]:
        return self.sink.views.get(WorkerRank(worker_id, rank), [])

    @asynccontextmanager
    async def to(self, *endpoints: Endpoint) -> AsyncIterator["Listening"]:
        self.subscriber.follow(PoolSnapshot.of(endpoints))
        running = asyncio.create_task(self.subscriber.run())
        try:
            yield self
            assert not running.done(), running.exception()
        finally:
            running.cancel()
            await asyncio.wait([running])


def endpoint(publisher: Publisher, *, replay: bool = True, worker_id: int = 1, dp_size: int = 1) -> Endpoint:
    return Endpoint(
        name=f"w{worker_id}",
        address="127.0.0.1",
        port=worker_id,
        worker_id=worker_id,
        dp_size=dp_size,
        kv_events=f"tcp://127.0.0.1:{publisher.live_port}",
        kv_replay=f"tcp://127.0.0.1:{publisher.replay_port}" if replay else None,
    )


@pytest.fixture
def publisher() -> Iterator[Publisher]:
    one = Publisher()
    yield one
    one.close()


@pytest.fixture
def listening() -> Listening:
    return Listening(EventsConfig(replay_timeout_s=60.0))
