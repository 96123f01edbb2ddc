"""``http`` and ``https`` URLs, taken apart for a client that opens the socket itself."""

from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_MAX_PORT: Final = 65535


@dataclass(frozen=True, slots=True)
class Url:
    """Where to connect and what to ask for."""

    host: str
    """Name or IP literal, IPv6 without brackets."""
    port: int
    target: str
    """Path and query as they stand in the request line."""
    tls: bool

    @property
    def host_header(self) -> str:
        """Value of ``Host``."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def parse_url(text: str) -> Url:
    """``http[s]://HOST[:PORT][/PATH][?QUERY]``; raises ValueError that names what is wrong."""
    if not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError(f"{text!r} is not a URL of printable ASCII")
    parts = urlsplit(text)  # raises ValueError for broken brackets
    if parts.scheme not in _DEFAULT_PORTS:
        raise ValueError(f"{text!r} does not begin with http:// or https://")
    if not parts.hostname or parts.username is not None:
        raise ValueError(f"{text!r} has no plain host")
    port = _DEFAULT_PORTS[parts.scheme] if parts.port is None else parts.port  # ValueError beyond 65535
    if not 0 < port <= _MAX_PORT:
        raise ValueError(f"{text!r} has no usable port")
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Url(host=parts.hostname, port=port, target=target, tls=parts.scheme == "https")
