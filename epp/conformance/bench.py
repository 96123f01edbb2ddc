"""Where cases are tried: the picker under test, what is known about it, and the usual ways to ask it."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from epp.conformance.exchange import Exchange, Reply, Request
from epp.conformance.messages import BUFFERED, DUPLEX
from epp.conformance.model import FailedError, Profile
from epp.conformance.names import PROCESS
from epp.conformance.transport import Address


@dataclass(frozen=True, slots=True)
class Target:
    """The picker under test."""

    address: Address
    endpoints: tuple[str, ...] = ()
    """``ip:port`` of every endpoint it may pick, as it writes them; none: not known."""
    model: str = "model"
    """A model name it serves."""
    health: Address | None = None
    """Where its health service is; None: on the ext_proc port."""
    timeout_s: float = 5.0
    """For each answer."""
    duplex: bool = True
    """Try FULL_DUPLEX_STREAMED bodies."""
    buffered: bool = True
    """Try BUFFERED bodies."""
    profile: Profile = Profile.EPP


class Bench:
    """The open connection, and builders of requests."""

    def __init__(self, target: Target, channel: Any, health_channel: Any) -> None:
        """``channel``, ``health_channel``: of grpc.aio, to the ext_proc port and to the health service."""
        self.target = target
        self.health_channel = health_channel
        self._process = channel.stream_stream(PROCESS)

    def open(self, request: Request) -> Exchange:
        """A new stream, nothing sent yet."""
        return Exchange(self._process(), request, self.target.timeout_s)

    async def ask(self, request: Request) -> Reply:
        """One request, played to the end of its request side."""
        async with self.open(request) as exchange:
            return await exchange.ask()

    @property
    def plain(self) -> Request:
        """A small chat request, its bodies in the first mode that is to be tried."""
        return Request([self.chat()], modes=DUPLEX if self.target.duplex else BUFFERED)

    def chat(self, text: str = "Say hello.", **fields: object) -> bytes:
        """The body of a chat request."""
        message = {"role": "user", "content": text}
        document = {"model": self.target.model, "messages": [message], "max_tokens": 1, **fields}
        return json.dumps(document).encode()

    def chat_of(self, size_bytes: int) -> bytes:
        """A chat request's body of exactly this size, of words that no two places share."""
        spare = size_bytes - len(self.chat(""))
        words = " ".join(f"word{number}" for number in range(spare // 5 + 1))
        return self.chat(words[:spare])


def entries(value: str) -> tuple[str, ...]:
    """The entries of a destination. Raises FailedError unless each is ip:port, IPv6 in brackets."""
    found = tuple(entry.strip() for entry in value.split(","))
    for entry in found:
        host, colon, port = entry.rpartition(":")
        bracketed = host.startswith("[") and host.endswith("]")
        try:
            version = ip_address(host.strip("[]")).version
        except ValueError:
            raise FailedError(f"{entry!r} in {value!r} is not ip:port") from None
        known_port = port.isascii() and port.isdigit() and 0 < int(port) < 1 << 16
        if not colon or not known_port or bracketed != (version == 6):
            raise FailedError(f"{entry!r} in {value!r} is not ip:port")
    return found


def picked(reply: Reply) -> tuple[str, ...]:
    """Where a request goes, best first. Raises FailedError when it goes nowhere or the two words differ."""
    if reply.status is not None:
        raise FailedError(f"an immediate response with status {reply.status}")
    if reply.header is None:
        raise FailedError("no x-gateway-destination-endpoint among the headers set on the request")
    if reply.metadata is None:
        raise FailedError("no x-gateway-destination-endpoint in the dynamic metadata envoy.lb")
    if reply.header != reply.metadata:
        raise FailedError(f"the header says {reply.header!r}, the metadata {reply.metadata!r}")
    return entries(reply.header)


def inside(reply: Reply, allowed: Sequence[str]) -> tuple[str, ...]:
    """Where a request goes; raises FailedError when any of it is outside ``allowed``."""
    chosen = picked(reply)
    if outside := [entry for entry in chosen if entry not in allowed]:
        raise FailedError(f"{', '.join(outside)} is not among {', '.join(allowed)}")
    return chosen


def refused(reply: Reply, *statuses: int) -> str:
    """Says what the refusal was; raises FailedError for anything but an immediate response so."""
    if reply.status is None:
        raise FailedError(f"it was sent to {reply.header or 'nowhere'}")
    if reply.status not in statuses:
        raise FailedError(f"an immediate response with status {reply.status}")
    return f"an immediate response with status {reply.status}"


def tolerated(reply: Reply) -> str:
    """Says how a doubtful request ended: refused with a 4xx, or sent on. Raises FailedError otherwise."""
    if reply.status is None:
        return f"sent to {', '.join(picked(reply))}"
    return refused(reply, *range(400, 500))
