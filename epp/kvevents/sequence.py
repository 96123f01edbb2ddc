"""One rank's event stream put in order: no sockets, no clock; facts in, actions out.

An engine numbers its messages from 0 and keeps the last ten thousand or so for replay. From what arrives
(live messages, replayed ones, the connection's ups and downs) a :class:`RankSequence` decides what to apply,
when to ask for a replay and when the view of the rank can no longer be trusted and must be dropped::

               connected: ask replay(0) ┌───────────┐ end marker, deadline, a bound
        ┌──────────────────────────────►│ REPLAYING │──────────────┐
        │                               │ live ones │              ▼
    (start)                             │   wait    │          ┌────────┐
        │                               └───────────┘◄─────────│ FOLLOW │◄─┐ next seq: apply
        └──────────────────────────────────────────────────►   └────────┘──┘
               no replay address          gap: ask replay(next)

Rules:

* The first connection asks for everything, to fill the index; a picker that starts late knows what an
  early one knows, as far back as the engine remembers.
* A gap (seq beyond the next) asks for the missing part. Messages that come meanwhile are left in the live
  socket's bounded queue (``replaying`` says so) and read after it, so order is kept. Without replay, or if
  replay does not close the gap, the view is dropped: a missed removal would make it claim blocks that
  are gone.
* A reconnect, or a live seq that does not grow, is another life of the engine: its cache is empty, so
  the view is dropped and the stream starts anew.
* A live seq that grows but was already replayed is a duplicate and skipped.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TypeAlias

from epp.wire.zmqframes import Sequenced

MAX_REPLAYED_MESSAGES: Final = 1_000_000
"""Messages taken from one replay; engines keep ten thousand by default."""


class DropReason(StrEnum):
    """Why a rank's view was dropped: a metric label."""

    GAP = "gap"
    """Messages are missing and there is no replay address."""
    REPLAY_HOLE = "replay-hole"
    """The engine no longer has the messages that are missing."""
    REPLAY_TIMEOUT = "replay-timeout"
    REPLAY_OVERFLOW = "replay-overflow"
    """The replay goes on and on."""
    RESTART = "restart"
    """Another life of the engine."""


@dataclass(frozen=True, slots=True)
class Apply:
    """Apply this payload now."""

    payload: bytes
    replayed: bool


@dataclass(frozen=True, slots=True)
class AskReplay:
    """Ask the engine for everything from ``start_seq`` on, on a fresh connection."""

    start_seq: int


@dataclass(frozen=True, slots=True)
class EndReplay:
    """Close the replay connection."""

    filled: bool
    """The engine answered to the end."""


@dataclass(frozen=True, slots=True)
class DropView:
    """Forget what the rank holds."""

    reason: DropReason


@dataclass(frozen=True, slots=True)
class Skipped:
    """A message was already applied."""


Action: TypeAlias = Apply | AskReplay | EndReplay | DropView | Skipped


class RankSequence:
    """See the module's preface. Every method returns the actions to carry out, in order."""

    def __init__(self, *, can_replay: bool, replay_timeout_s: float) -> None:
        self._can_replay = can_replay
        self._replay_timeout_s = replay_timeout_s
        self._connected_before = False
        self._next: int | None = None
        """Seq that continues the view; None: whatever comes first."""
        self._last_live: int | None = None
        self._deadline_s: float | None = None
        """End of the running replay unless it makes progress; None: no replay runs."""
        self._replayed = 0
        self._held: Sequenced | None = None
        """The live message that showed the gap."""

    @property
    def replaying(self) -> bool:
        """A replay runs: leave live messages where they are."""
        return self._deadline_s is not None

    @property
    def deadline_s(self) -> float | None:
        """When :meth:`tick` must be called; None: nothing to wait for."""
        return self._deadline_s

    def connected(self, now_s: float) -> Iterator[Action]:
        """The live connection is up."""
        if self._connected_before:
            yield from self._restart(now_s)
        else:
            self._connected_before = True
            yield from self._ask(0, now_s)

    def live(self, message: Sequenced, now_s: float) -> Iterator[Action]:
        """A live message; not to be called while ``replaying``."""
        last, self._last_live = self._last_live, message.seq
        if last is not None and message.seq <= last:
            yield from self._restart(now_s)
            self._last_live = message.seq
            if self.replaying:  # which should bring this message too
                self._held = message
                return
        if self._next is None or message.seq == self._next:
            yield from self._apply(message, replayed=False)
        elif message.seq < self._next:
            yield Skipped()
        elif self._can_replay:
            self._held = message
            yield from self._ask(self._next, now_s)
        else:
            yield DropView(DropReason.GAP)
            yield from self._apply(message, replayed=False)

    def replayed(self, message: Sequenced, now_s: float) -> Iterator[Action]:
        """A message of the running replay."""
        if not self.replaying:
            return
        self._deadline_s = now_s + self._replay_timeout_s
        self._replayed += 1
        if self._replayed > MAX_REPLAYED_MESSAGES:
            yield from self._give_up(DropReason.REPLAY_OVERFLOW)
        elif self._next is not None and message.seq < self._next:
            yield Skipped()
        else:
            yield from self._hole(message.seq)
            yield from self._apply(message, replayed=True)

    def replay_ended(self) -> Iterator[Action]:
        """The end marker of the running replay."""
        if self.replaying:
            yield EndReplay(filled=True)
            yield from self._release()

    def tick(self, now_s: float) -> Iterator[Action]:
        """Time passes; a replay that made no progress by its deadline is given up."""
        if self._deadline_s is not None and now_s >= self._deadline_s:
            yield from self._give_up(DropReason.REPLAY_TIMEOUT)

    def _apply(self, message: Sequenced, *, replayed: bool) -> Iterator[Action]:
        self._next = message.seq + 1
        yield Apply(message.payload, replayed)

    def _restart(self, now_s: float) -> Iterator[Action]:
        if self.replaying:
            yield EndReplay(filled=False)
        self._deadline_s = self._held = self._next = self._last_live = None
        yield DropView(DropReason.RESTART)
        yield from self._ask(0, now_s)

    def _ask(self, start_seq: int, now_s: float) -> Iterator[Action]:
        if self._can_replay:
            self._deadline_s = now_s + self._replay_timeout_s
            self._replayed = 0
            yield AskReplay(start_seq)

    def _give_up(self, reason: DropReason) -> Iterator[Action]:
        """End the replay without its end. A view that had not begun has nothing to drop."""
        yield EndReplay(filled=False)
        if self._next is not None:
            self._next = None
            yield DropView(reason)
        yield from self._release()

    def _release(self) -> Iterator[Action]:
        """The replay is over: go on with the message that asked for it, unless it was part of it."""
        held, self._held, self._deadline_s = self._held, None, None
        if held is None:
            return
        if self._next is not None and held.seq < self._next:
            yield Skipped()
            return
        yield from self._hole(held.seq)
        yield from self._apply(held, replayed=False)

    def _hole(self, seq: int) -> Iterator[Action]:
        if self._next is not None and seq > self._next:
            yield DropView(DropReason.REPLAY_HOLE)
