"""Two legs of one request at the same time: the one that is answered, and the one that is only drained.

The decode leg makes the client's answer. The prefill leg's answer says no more than that it went well, so
the request does not wait for it: its task belongs to :class:`Together`, ends by its own deadline, and is
cancelled with the request as long as the request lives. A prefill that fails while nothing was decoded ends
the decode leg, which would wait for a transfer that never comes.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from epp.core.outcomes import HeaderPairs
from frontend.body import Body
from frontend.http.api import Flow, Reply
from frontend.orchestrate.failures import PrefillError
from frontend.pipeline.call import Call, Leg

_LOG = logging.getLogger(__name__)

RunPrefill: TypeAlias = Callable[[Call, Leg, Body], Awaitable[bytes]]
"""Raises PrefillError."""
Decode: TypeAlias = Callable[[Reply], Awaitable[None]]


class Watched:
    """A reply that remembers whether a piece of the body went through."""

    __slots__ = ("_reply", "flowed", "started")

    def __init__(self, reply: Reply) -> None:
        self._reply = reply
        self.started = reply.started
        self.flowed = False

    def start(self, status: int, headers: HeaderPairs) -> None:
        """See :class:`~frontend.http.api.Reply`."""
        self._reply.start(status, headers)
        self.started = True

    def attach(self, source: Flow | None) -> None:
        """See :class:`~frontend.http.api.Sink`."""
        self._reply.attach(source)

    def data(self, piece: bytes) -> None:
        """See :class:`~frontend.http.api.Sink`."""
        self.flowed = True
        self._reply.data(piece)

    def end(self) -> None:
        """See :class:`~frontend.http.api.Reply`."""
        self._reply.end()


class Together:
    """Runs pairs of legs and owns the prefill legs that outlive their request."""

    def __init__(self, run: RunPrefill) -> None:
        self._run = run
        self._legs: set[asyncio.Task[bytes]] = set()

    def __len__(self) -> int:
        """Prefill legs in progress; each ends by its deadline."""
        return len(self._legs)

    async def close(self) -> None:
        """Cancel them."""
        for task in self._legs:
            task.cancel()
        if self._legs:
            await asyncio.wait(self._legs)

    async def serve(self, call: Call, reply: Reply, prefill: Leg, body: Body, decode: Decode) -> None:
        """Both legs; returns when the decode leg ended. Raises what it raises, or PrefillError if the
        prefill failed before anything was decoded. Cancelled, it stops both."""
        watched = Watched(reply)
        leg = self._start(call, prefill, body)
        answer = asyncio.ensure_future(decode(watched))
        try:
            await asyncio.wait((leg, answer), return_when=asyncio.FIRST_COMPLETED)
            if not answer.done() and not watched.flowed:
                leg.result()
            await answer
        except BaseException:
            leg.cancel()
            raise
        finally:
            await _end(answer)

    def _start(self, call: Call, prefill: Leg, body: Body) -> "asyncio.Task[bytes]":
        task = asyncio.ensure_future(self._run(call, prefill, body))
        assert isinstance(task, asyncio.Task)
        self._legs.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: "asyncio.Task[bytes]") -> None:
        self._legs.discard(task)
        if task.cancelled():
            return
        error = task.exception()
        if error is not None and not isinstance(error, PrefillError):  # those are counted where they happen
            _LOG.error("a prefill leg failed", exc_info=error)


async def _end(task: "asyncio.Future[None]") -> None:
    """Cancel what is not done, and wait until it has closed its connection."""
    if not task.done():
        task.cancel()
        await asyncio.wait((task,))
    if not task.cancelled():
        task.exception()  # has been raised, or lost to the prefill's
