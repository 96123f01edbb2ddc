"""Headers that belong to one connection and never pass on (RFC 9110, section 7.6.1)."""

from collections.abc import Mapping
from typing import Final

from epp.core.outcomes import HeaderPairs
from frontend.http.api import CONNECTION_HEADERS
from frontend.http.heads import lines_of

HOP_BY_HOP: Final = CONNECTION_HEADERS | {"proxy-authenticate", "proxy-authorization"}
_ANSWERERS_OWN: Final = HOP_BY_HOP | {"date", "server"}
_PERSISTENCE: Final = frozenset({"", "close", "keep-alive"})


def of_this_connection(headers: Mapping[str, str]) -> frozenset[str]:
    """What ``connection`` adds to the list by name."""
    names = headers["connection"].lower().split(",")
    return frozenset(name.strip() for name in names) - _PERSISTENCE


def answer_headers(headers: Mapping[str, str], more: HeaderPairs = ()) -> HeaderPairs:
    """A worker's headers as the client gets them, and ``more``."""
    own = _ANSWERERS_OWN | of_this_connection(headers) if "connection" in headers else _ANSWERERS_OWN
    return (*((name, value) for name, value in lines_of(headers) if name not in own), *more)
