"""Requests without a pause, and the model servers that they may come to."""

import asyncio
import threading
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import count
from typing import Final

import httpx

from epp.testing.backend import EchoBackend
from tests.integration.kubernetes.timeline import Exchange

_NUMBER: Final = "x-number"
_TIMEOUT_S: Final = 60.0
_SENDERS: Final = 6
_PAUSE_S: Final = 0.03


class Traffic:
    """Every request has a number, by which the server that received it is found."""

    def __init__(self, ports: Sequence[int]) -> None:
        """``ports``: of proxies on loopback, taken by turns."""
        self.exchanges: list[Exchange] = []
        """Those that are over, in order of their end."""
        self._more = threading.Condition()
        self._ports = ports
        self._numbers = count()
        self._over = asyncio.Event()

    @asynccontextmanager
    async def flowing(self) -> AsyncGenerator[None, None]:
        """Within, requests are sent; at the end they are waited for."""
        async with httpx.AsyncClient(timeout=_TIMEOUT_S) as client, asyncio.TaskGroup() as tasks:
            for _ in range(_SENDERS):
                tasks.create_task(self._send_all(client))
            yield
            self._over.set()

    def wait_for(self, count: int) -> None:
        """Blocking, on another thread: until so many more requests are over."""
        with self._more:
            wanted = len(self.exchanges) + count
            assert self._more.wait_for(lambda: len(self.exchanges) >= wanted, _TIMEOUT_S), "no traffic"

    async def _send_all(self, client: httpx.AsyncClient) -> None:
        while not self._over.is_set():
            await self._send(client, next(self._numbers))
            await asyncio.sleep(_PAUSE_S)

    async def _send(self, client: httpx.AsyncClient, number: int) -> None:
        body = {"model": "m", "prompt": f"{number} " * 20, "max_tokens": 1}
        url = f"http://127.0.0.1:{self._ports[number % len(self._ports)]}/v1/completions"
        sent_s = time.monotonic()
        try:
            answer = await client.post(url, json=body, headers={_NUMBER: str(number)})
            outcome = str(answer.status_code)
        except httpx.HTTPError as error:
            outcome = repr(error)
        with self._more:
            self.exchanges.append(Exchange(number, sent_s, time.monotonic(), outcome))
            self._more.notify_all()


@asynccontextmanager
async def listening(addresses: Sequence[str]) -> AsyncGenerator[dict[str, EchoBackend], None]:
    """Model servers at all of these addresses, on one port that the kernel chose for the first."""
    async with AsyncExitStack() as stack:
        port, servers = 0, dict[str, EchoBackend]()
        for address in addresses:
            servers[address] = await stack.enter_async_context(EchoBackend(address, port))
            port = servers[address].port
        yield servers


def received(server: EchoBackend) -> set[int]:
    """Numbers of the requests that came to it."""
    return {int(request.headers[_NUMBER]) for request in server.received}
