"""How late the event loop is: a timer that measures its own lateness."""

import asyncio
from typing import Final

from frontend.telemetry.catalog import FrontendCatalog

_EVERY_S: Final = 0.5
_STALL_S: Final = 0.1


class LoopDelay:
    """Measures until stopped."""

    def __init__(self, catalog: FrontendCatalog) -> None:
        self._catalog = catalog
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin, on the running loop."""
        loop = asyncio.get_running_loop()
        self._timer = loop.call_at(loop.time() + _EVERY_S, self._due, loop, loop.time() + _EVERY_S)

    def stop(self) -> None:
        """End (idempotent)."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _due(self, loop: asyncio.AbstractEventLoop, at_s: float) -> None:
        late_s = max(0.0, loop.time() - at_s)
        self._catalog.loop_delay_s.observe(late_s)
        if late_s > _STALL_S:
            self._catalog.loop_stalls_total.inc()
        self.start()
