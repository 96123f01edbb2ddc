"""Sessions: which endpoint served the previous request of the same client session.

Two strategies, as in llm-d. ``encoded_endpoint_header``: a request header carries the base64 of
``namespace/name``, which the client got as a response header; no state here. ``session_id``: the client
sends an opaque id, and the binding is remembered here until it has been unused for a while.
"""

import base64
import binascii
from collections import OrderedDict
from collections.abc import Sequence

from epp.config.kinds import TEXT, choice, real
from epp.config.tree import Fields
from epp.core.endpoints import Endpoint
from epp.core.scheduling.context import Candidate, SchedulingContext

_STRATEGY = choice("encoded_endpoint_header", "session_id")
_DEFAULT_TTL_S = 300.0
MAX_SESSIONS = 100_000
"""Bindings kept; the least recently used goes first."""


class Sessions:
    """Where sessions live."""

    def __init__(
        self,
        token_header: str = "x-session-token",  # noqa: S107 -- a header's name
        id_headers: Sequence[str] | None = None,
        ttl_s: float = _DEFAULT_TTL_S,
    ) -> None:
        """``id_headers`` chooses the second strategy; None the first."""
        self._token_header = token_header
        self._id_headers = id_headers
        self._ttl_s = ttl_s
        self._bound: OrderedDict[str, tuple[str, float]] = OrderedDict()

    @classmethod
    def from_fields(cls, fields: Fields) -> "Sessions":
        """Parameters ``strategy``, ``encodedEndpointHeaderConfig`` and ``sessionIdConfig``."""
        strategy: str = fields.scalar("strategy", _STRATEGY, "encoded_endpoint_header")
        fields.scalar("profileName", TEXT)
        token = fields.fields("encodedEndpointHeaderConfig")
        header: str = token.scalar("header", TEXT, "x-session-token")
        token.end()
        ids, ttl_s = _read_id_config(fields.fields("sessionIdConfig"))
        return cls(header.lower(), ids if strategy == "session_id" else None, ttl_s)

    def home_of(self, context: SchedulingContext) -> str | None:
        """``namespace/name`` of the endpoint the session lives on; None: no session, or not bound."""
        if self._id_headers is None:
            return decode_token(context.headers.get(self._token_header, ""))
        session = self._session_of(context)
        bound = self._bound.get(session) if session else None
        if bound is None or context.now_s - bound[1] > self._ttl_s:
            return None
        return bound[0]

    def bind(self, context: SchedulingContext, candidate: Candidate) -> None:
        """The session was sent to this candidate."""
        session = self._session_of(context) if self._id_headers is not None else ""
        if not session:
            return
        self._bound[session] = (key_of(candidate.endpoint), context.now_s)
        self._bound.move_to_end(session)
        self._expire(context.now_s)

    def response_header(self, endpoint: Endpoint) -> tuple[str, str] | None:
        """What the client must send back; None when it need not."""
        return None if self._id_headers is not None else (self._token_header, encode_token(endpoint))

    def _session_of(self, context: SchedulingContext) -> str:
        named = (context.headers.get(name, "") for name in self._id_headers or ())
        return next(filter(None, named), context.session)

    def _expire(self, now_s: float) -> None:
        while self._bound:
            oldest = next(iter(self._bound))
            if len(self._bound) <= MAX_SESSIONS and now_s - self._bound[oldest][1] <= self._ttl_s:
                return
            del self._bound[oldest]


def _read_id_config(fields: Fields) -> tuple[tuple[str, ...], float]:
    sources = fields.each("sources")
    headers = tuple(source.required("header", TEXT).lower() for source in sources)
    for source in sources:
        source.end()
    ttl_s: float = fields.scalar("evictionTtlSeconds", real(0.001, 1e9), _DEFAULT_TTL_S)
    fields.scalar("evictionSweepSeconds", real(0.001, 1e9))
    fields.end()
    return headers or ("x-session-id",), ttl_s


def key_of(endpoint: Endpoint) -> str:
    """``namespace/name``."""
    return f"{endpoint.namespace}/{endpoint.name}"


def encode_token(endpoint: Endpoint) -> str:
    """The token that names an endpoint."""
    return base64.b64encode(key_of(endpoint).encode()).decode()


def decode_token(token: str) -> str | None:
    """The endpoint a token names; None for anything that is no token."""
    try:
        return base64.b64decode(token, validate=True).decode() or None
    except (binascii.Error, ValueError):
        return None
