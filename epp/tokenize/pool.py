"""Threads for work too long for the event loop, with a bound on how much may wait and for how long."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from epp.tokenize.errors import PromptError, Reason

_Result = TypeVar("_Result")


class WorkPool:
    """Runs functions on ``threads`` threads; at most ``max_queued`` wait. Used from one event loop.

    Python cannot stop a thread: work that misses its deadline is no longer waited for, but keeps its
    thread, and its place in the bound, until it returns.
    """

    def __init__(
        self, threads: int, max_queued: int, deadline_s: float, on_depth: Callable[[int], None]
    ) -> None:
        self._executor = ThreadPoolExecutor(max(threads, 1), thread_name_prefix="tokenize")
        self._max_depth = max(threads, 1) + max_queued
        self._deadline_s = deadline_s
        self._on_depth = on_depth
        self._depth = 0
        self._closed = False

    async def run(self, work: Callable[[], _Result]) -> _Result:
        """Result of ``work()``; raises what it raises, and ``PromptError`` if full, late or closed."""
        if self._closed:
            raise PromptError(Reason.CLOSED)
        if self._depth >= self._max_depth:
            raise PromptError(Reason.QUEUE_FULL)
        job = self._executor.submit(work)
        outcome = asyncio.wrap_future(job)
        self._change_depth(1)
        outcome.add_done_callback(self._finished)
        try:
            await asyncio.wait({outcome}, timeout=self._deadline_s)
        finally:
            job.cancel()  # takes it out of the queue if it still waits there; else without effect
        if job.cancelled() or not outcome.done():
            raise PromptError(Reason.CLOSED if self._closed else Reason.DEADLINE)
        return outcome.result()

    def close(self) -> None:
        """Refuse further work and forget what waits; what runs is left to end by itself."""
        self._closed = True
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _finished(self, outcome: "asyncio.Future[_Result]") -> None:
        self._change_depth(-1)
        if not outcome.cancelled():
            outcome.exception()  # seen here if nobody waits any more

    def _change_depth(self, by: int) -> None:
        self._depth += by
        self._on_depth(self._depth)
