"""One rank's event stream: its sockets, driven by a :class:`RankSequence`."""

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeAlias

import zmq
from zmq.utils.monitor import parse_monitor_message

from epp.config.model import EventsConfig
from epp.core.endpoints import WorkerRank
from epp.core.router import ApplyReport
from epp.kvevents.sequence import (
    Action,
    Apply,
    AskReplay,
    DropView,
    EndReplay,
    RankSequence,
    Skipped,
)
from epp.kvevents.sink import EventMetrics, EventSink
from epp.kvevents.sockets import Bounds, OnError, SocketReader, ZmqSocket, connect, connect_monitored
from epp.wire.zmqframes import FrameError, parse_live, parse_replay, replay_request

_log = logging.getLogger(__name__)

OnReport: TypeAlias = Callable[[WorkerRank, ApplyReport], None]
"""Told what every message did: completed prefills and decode progress among it."""


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where one rank is heard."""

    live: str
    replay: str | None


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What every link of a subscriber works with."""

    context: "zmq.Context[ZmqSocket]"
    config: EventsConfig
    sink: EventSink
    metrics: EventMetrics
    on_report: OnReport
    on_error: OnError
    clock: Callable[[], float]


class RankLink:
    """Subscribes to one rank from construction to :meth:`close`."""

    def __init__(self, target: WorkerRank, addresses: Addresses, around: Surroundings) -> None:
        """Raises zmq.ZMQError if the address cannot be used."""
        self.target = target
        self.addresses = addresses
        self._around = around
        self._sequence = RankSequence(
            can_replay=addresses.replay is not None, replay_timeout_s=around.config.replay_timeout_s
        )
        config = around.config
        self._bounds = Bounds(config.max_message_bytes, config.high_water_messages)
        socket, events = connect_monitored(around.context, zmq.SUB, addresses.live, self._bounds)
        self._live = SocketReader(socket, self._on_live, around.on_error)
        self._monitored = socket
        self._monitor = SocketReader(events, self._on_monitor, around.on_error)
        self._replay: SocketReader | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._monitor.resume()
        self._live.resume()

    def close(self) -> None:
        """Leave the stream."""
        self._stop_timer()
        self._end_replay()
        self._monitored.disable_monitor()
        self._monitor.close()
        self._live.close()

    # --- what comes in ---------------------------------------------------------------------------------

    def _on_monitor(self, frames: list[bytes]) -> None:
        up = parse_monitor_message(frames)["event"] == zmq.EVENT_HANDSHAKE_SUCCEEDED
        self._around.metrics.connected(self.target, up=up)
        if up:
            self._carry_out(self._sequence.connected(self._around.clock()))

    def _on_live(self, frames: list[bytes]) -> None:
        try:
            message = parse_live(frames)
        except FrameError as error:
            self._around.metrics.malformed(self.target, str(error))
            return
        self._carry_out(self._sequence.live(message, self._around.clock()))

    def _on_replay(self, frames: list[bytes]) -> None:
        try:
            message = parse_replay(frames)
        except FrameError as error:
            self._around.metrics.malformed(self.target, str(error))
            return
        if message is None:
            self._carry_out(self._sequence.replay_ended())
        else:
            self._carry_out(self._sequence.replayed(message, self._around.clock()))

    def _on_timer(self) -> None:
        self._timer = None
        self._carry_out(self._sequence.tick(self._around.clock()))

    # --- what to do ------------------------------------------------------------------------------------

    def _carry_out(self, actions: Iterable[Action]) -> None:
        for action in actions:
            match action:
                case Apply(payload=payload, replayed=replayed):
                    self._apply(payload, replayed=replayed)
                case AskReplay(start_seq=start_seq):
                    self._ask_replay(start_seq)
                case EndReplay(filled=filled):
                    self._end_replay()
                    self._around.metrics.replay_ended(self.target, filled=filled)
                case DropView(reason=reason):
                    blocks = self._around.sink.drop_blocks(self.target)
                    self._around.metrics.dropped(self.target, reason, blocks)
                    _log.warning(
                        "worker %d rank %d: view dropped (%s), %d blocks", *self.target, reason, blocks
                    )
                case Skipped():
                    pass
        if self._sequence.replaying:
            self._live.pause()
            self._arm_timer()
        else:
            self._stop_timer()
            self._live.resume()

    def _apply(self, payload: bytes, *, replayed: bool) -> None:
        report = self._around.sink.apply_payload(self.target, payload, self._around.clock())
        self._around.metrics.applied(self.target, report, replayed=replayed)
        self._around.on_report(self.target, report)

    def _ask_replay(self, start_seq: int) -> None:
        """On a socket of its own: closing that is the only way not to hear the rest of an old replay."""
        assert self.addresses.replay is not None
        self._end_replay()
        socket = connect(self._around.context, zmq.DEALER, self.addresses.replay, self._bounds)
        self._replay = SocketReader(socket, self._on_replay, self._around.on_error)
        self._replay.resume()
        self._replay.send(replay_request(start_seq))
        self._around.metrics.replay_asked(self.target, gap=start_seq > 0)

    def _end_replay(self) -> None:
        if self._replay is not None:
            self._replay.close()
            self._replay = None

    def _arm_timer(self) -> None:
        deadline_s = self._sequence.deadline_s
        if self._timer is None and deadline_s is not None:
            delay_s = max(deadline_s - self._around.clock(), 0.0)
            self._timer = asyncio.get_running_loop().call_later(delay_s, self._on_timer)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
