"""Tasks that come and go with the pool, each with an owner that sees its failure."""

import asyncio
from collections.abc import Coroutine, Hashable
from typing import Any, Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class KeyedTasks(Generic[K]):
    """At most one running task per key. A task that ends with an exception ends :meth:`watch` with it."""

    def __init__(self) -> None:
        self._tasks: dict[K, asyncio.Task[None]] = {}
        self._stopping: set[asyncio.Task[None]] = set()
        self._failure: asyncio.Future[None] | None = None
        self._failed: BaseException | None = None

    def keys(self) -> frozenset[K]:
        """Keys with a task."""
        return frozenset(self._tasks)

    def start(self, key: K, work: Coroutine[Any, Any, None]) -> None:
        """Run ``work`` under ``key``, in place of what ran there."""
        self.stop(key)
        task = asyncio.get_running_loop().create_task(work, name=f"task of {key}")
        self._tasks[key] = task
        task.add_done_callback(self._done)

    def stop(self, key: K) -> None:
        """Cancel the task of ``key``, if any; :meth:`close` waits for its end."""
        task = self._tasks.pop(key, None)
        if task is not None and not task.done():
            task.cancel()
            self._stopping.add(task)

    async def watch(self) -> None:
        """Wait, until cancelled or until a task fails."""
        if self._failed is not None:
            raise self._failed
        self._failure = asyncio.get_running_loop().create_future()
        await self._failure

    async def close(self) -> None:
        """Cancel everything and wait for the end of it."""
        for key in list(self._tasks):
            self.stop(key)
        if self._stopping:
            await asyncio.wait(self._stopping)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._stopping.discard(task)
        if task.cancelled() or task.exception() is None:
            return
        self._failed = task.exception()
        if self._failed is not None and self._failure is not None and not self._failure.done():
            self._failure.set_exception(self._failed)
