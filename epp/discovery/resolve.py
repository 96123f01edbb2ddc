"""Host names of an endpoints file to addresses: off the loop, with a deadline, remembered."""

import asyncio
import socket
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import replace
from typing import Any, Final, TypeAlias

from epp.core.endpoints import Endpoint
from epp.wire.endpointsfile import is_literal

RESOLVE_DEADLINE_S: Final = 5.0
"""Longest one look-up may take."""
_PARALLEL: Final = 8
"""Look-ups at a time: they share the loop's few resolver threads with others."""

Lookup: TypeAlias = Callable[[str], Coroutine[Any, Any, str]]
"""Name to address; raises OSError."""


async def system_lookup(name: str) -> str:
    """The first address the system gives for ``name``; raises OSError."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    return str(found[0][4][0])


class Resolver:
    """Resolves endpoints' addresses; a name that fails keeps the last address it had."""

    def __init__(self, lookup: Lookup = system_lookup, deadline_s: float = RESOLVE_DEADLINE_S) -> None:
        self._lookup = lookup
        self._deadline_s = deadline_s
        self._known: dict[str, str] = {}

    async def resolve(self, endpoints: Iterable[Endpoint]) -> tuple[tuple[Endpoint, ...], tuple[str, ...]]:
        """Endpoints with IP literals, and the names that could not be looked up now.

        An endpoint whose name never had an address is left out; names no longer asked for are forgotten.
        """
        wanted = tuple(endpoints)
        names = sorted({e.address for e in wanted if not is_literal(e.address)})
        self._known = {name: self._known[name] for name in names if name in self._known}
        slots = asyncio.Semaphore(_PARALLEL)
        answers = await asyncio.gather(*(self._one(name, slots) for name in names))
        failed = tuple(name for name, answered in zip(names, answers, strict=True) if not answered)
        resolved = (self._placed(endpoint) for endpoint in wanted)
        return tuple(endpoint for endpoint in resolved if endpoint is not None), failed

    async def _one(self, name: str, slots: asyncio.Semaphore) -> bool:
        async with slots:
            try:
                async with asyncio.timeout(self._deadline_s):
                    self._known[name] = await self._lookup(name)
            except (OSError, UnicodeError):  # TimeoutError is an OSError
                return False
        return True

    def _placed(self, endpoint: Endpoint) -> Endpoint | None:
        if is_literal(endpoint.address):
            return endpoint
        address = self._known.get(endpoint.address)
        return None if address is None else replace(endpoint, address=address)
