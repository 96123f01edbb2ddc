"""Ports of servers that cannot tell which one the kernel gave them, or that come back where they were."""

import socket
from types import TracebackType
from typing import Self


class HeldPort:
    """A loopback port that stays ours while nobody listens on it.

    Bound and never listening: connections are refused, the kernel gives the port to nobody else, neither to a
    server nor to an outgoing connection, and a server that sets SO_REUSEADDR (asyncio's, Go's, ZeroMQ's do)
    can take it, as often as it likes (Linux: ``inet_csk_get_port``, ``__inet_hash_connect``).
    """

    def __init__(self, host: str = "127.0.0.1") -> None:
        """``host``: a loopback address, of either family; raises OSError where there is none."""
        self._socket = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind((host, 0))
        self.port = int(self._socket.getsockname()[1])
        """The kernel's choice."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let the port go; safe to call again."""
        self._socket.close()
