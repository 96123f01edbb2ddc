"""The bounds of both sides, with their defaults."""

from dataclasses import dataclass
from typing import Final

_KIB: Final = 1024
_MIB: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """What a client may take of the server. Times are looked at every ``sweep_s``, so they are that exact."""

    max_connections: int = 10_000
    """One more is told 503 and closed."""
    max_head_bytes: int = 64 * _KIB
    """Request line and header lines, also of trailers."""
    max_headers: int = 128
    max_body_bytes: int = 64 * _MIB
    max_bodies_bytes: int = 1024 * _MIB
    """Of all requests that have not been answered; whoever sends more is told 503."""
    write_buffer_bytes: int = 64 * _KIB
    """Unsent bytes at which a reply's source is paused."""
    head_s: float = 30.0
    """From the first byte of a request (or from the connection) to the end of its head."""
    body_s: float = 300.0
    """From the end of the head to the end of the body."""
    idle_s: float = 75.0
    """Between two requests of a connection."""
    write_s: float = 60.0
    """A client that takes no byte for this long is cut off."""
    linger_s: float = 2.0
    """How long what a refused client still sends is thrown away, so that it reads the refusal."""
    sweep_s: float = 0.5


@dataclass(frozen=True, slots=True)
class PoolLimits:
    """What the client keeps between requests, and takes from a model server at most."""

    max_idle_per_host: int = 256
    max_idle: int = 2048
    """Over all hosts; the longest idle goes first."""
    idle_s: float = 4.0
    """Age at which an idle connection is closed: before engines do it, after 5 s by uvicorn's default."""
    max_head_bytes: int = 64 * _KIB
    """Status line and header lines of a response."""
    ahead_bytes: int = 64 * _KIB
    """Body bytes read before anybody asked for the body."""
    sweep_s: float = 0.25
    """How often deadlines are looked at."""
