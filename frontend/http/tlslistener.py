"""The TLS side of the server: accepts, and counts clients from their first packet on.

A loop's own server hides a client until its handshake is over; whoever only connects would be nobody's, for
as long as handshakes may take. So sockets are accepted here, and those that are at their handshake are known.
"""

import asyncio
import errno
import logging
import socket
import ssl
from collections.abc import Callable
from typing import Final

_log = logging.getLogger(__name__)
_NO_DESCRIPTORS_S: Final = 1.0
"""Until accepting is tried again, when the process has too many files open."""


class TlsListener:
    """Listens on every address of a host. ``shaking`` are the clients at their handshake."""

    def __init__(
        self,
        context: ssl.SSLContext,
        made: Callable[[], asyncio.Protocol],
        crowded: Callable[[], bool],
        *,
        handshake_s: float,
        shutdown_s: float,
    ) -> None:
        """``made`` makes the protocol of a client that has shaken hands; ``crowded``: there is no room for
        one more, so it is cut without a word, for words would take a handshake."""
        self._context = context
        self._made = made
        self._crowded = crowded
        self._handshake_s, self._shutdown_s = handshake_s, shutdown_s
        self._sockets: list[socket.socket] = []
        self._accepting: list[asyncio.Task[None]] = []
        self.shaking: set[asyncio.Task[None]] = set()

    async def start(self, host: str, port: int, backlog: int) -> int:
        """Listen; the port. Raises OSError."""
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        try:
            for family, _, _, _, address in dict.fromkeys(found):
                if _exists(family):
                    self._sockets.append(_listening(family, address, backlog))
        except OSError:
            self.close()
            raise
        if not self._sockets:
            raise OSError(errno.EAFNOSUPPORT, f"{host or 'this machine'} has no address to listen on")
        self._accepting = [loop.create_task(self._accept(one), name="accept-tls") for one in self._sockets]
        bound: int = self._sockets[0].getsockname()[1]
        return bound

    def close(self) -> None:
        """Accept no more, and give up whoever has not shaken hands (idempotent)."""
        for task in (*self._accepting, *self.shaking):
            task.cancel()
        for listening in self._sockets:
            listening.close()
        self._sockets.clear()

    async def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                client, _ = await loop.sock_accept(listening)
            except OSError as error:
                _log.error("cannot accept a connection: %s", error)
                await asyncio.sleep(_NO_DESCRIPTORS_S)
                continue
            if self._crowded():
                client.close()
                continue
            task = loop.create_task(self._shake(client))
            self.shaking.add(task)
            task.add_done_callback(self._shaken)

    async def _shake(self, client: socket.socket) -> None:
        """Raises OSError for a handshake that fails or takes too long."""
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                self._made,
                client,
                ssl=self._context,
                ssl_handshake_timeout=self._handshake_s,
                ssl_shutdown_timeout=self._shutdown_s,
            )
        except BaseException:
            client.close()
            raise

    def _shaken(self, task: asyncio.Task[None]) -> None:
        self.shaking.discard(task)
        if task.cancelled():
            return
        error = task.exception()
        if isinstance(error, OSError):  # ssl.SSLError is one
            _log.debug("no TLS: %s", error)
        elif error is not None:
            _log.error("a TLS handshake failed", exc_info=error)


def _exists(family: int) -> bool:
    """Whether this machine has such sockets: names also stand for addresses of families it was denied."""
    try:
        socket.socket(family, socket.SOCK_STREAM).close()
    except OSError as error:
        if error.errno != errno.EAFNOSUPPORT:
            raise
        return False
    return True


def _listening(family: int, address: tuple[object, ...], backlog: int) -> socket.socket:
    """Bound as a loop's own server would: an address may be taken again at once, IPv6 is IPv6 alone."""
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind(address)
        made.listen(backlog)
        made.setblocking(False)
    except OSError:
        made.close()
        raise
    return made
