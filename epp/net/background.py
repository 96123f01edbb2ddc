"""Tasks that must run for as long as the picker does: watched, reported when they fail, started again."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, Final

_RESTART_PAUSE_S: Final = 1.0
"""A part that fails at once must not spin."""
_STOP_DEADLINE_S: Final = 5.0

_log = logging.getLogger(__name__)


class Background:
    """Owns the tasks. A part that raises degrades the picker until it is up again; nothing else stops."""

    def __init__(
        self,
        on_failure: Callable[[str], None],
        *,
        restart_pause_s: float = _RESTART_PAUSE_S,
        stop_deadline_s: float = _STOP_DEADLINE_S,
    ) -> None:
        """``on_failure`` is told the name of the part, for counting."""
        self._on_failure = on_failure
        self._restart_pause_s = restart_pause_s
        self._stop_deadline_s = stop_deadline_s
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self.failing: dict[str, str] = {}
        """Parts that are down at the moment, with the error in words."""

    def start(self, name: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run ``work()`` until :meth:`stop`, again whenever it ends or fails."""
        self._tasks[name] = asyncio.get_running_loop().create_task(self._keep_running(name, work), name=name)

    async def stop(self) -> None:
        """Cancel everything and wait for it."""
        for task in self._tasks.values():
            task.cancel()
        if self._tasks:
            _, late = await asyncio.wait(self._tasks.values(), timeout=self._stop_deadline_s)
            for task in late:
                _log.error("%s did not stop within %g s", task.get_name(), self._stop_deadline_s)
        self._tasks.clear()

    async def _keep_running(self, name: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        while True:
            try:
                await work()
            except Exception as error:  # noqa: BLE001 -- whatever a part dies of, the others go on
                self.failing[name] = f"{type(error).__name__}: {error}"
                self._on_failure(name)
                _log.exception("%s failed; it is started again", name)
            await asyncio.sleep(self._restart_pause_s)
            self.failing.pop(name, None)


def every(interval_s: float, action: Callable[[], None]) -> Callable[[], Coroutine[Any, Any, None]]:
    """Work for :class:`Background` that calls ``action`` again and again."""

    async def run() -> None:
        while True:
            action()
            await asyncio.sleep(interval_s)

    return run
