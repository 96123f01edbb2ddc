"""``session-affinity-scorer``: prefers the endpoint the session lives on."""

from collections.abc import Sequence

from epp.config.tree import Fields
from epp.core.endpoints import Endpoint
from epp.core.scheduling.context import Candidate, SchedulingContext
from epp.core.scheduling.sessions import Sessions, key_of


class SessionAffinityScorer:
    """1 for the session's endpoint, 0 for the rest; without a session 0 for everyone."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    @classmethod
    def from_fields(cls, fields: Fields) -> "SessionAffinityScorer":
        """Parameters of :class:`~epp.core.scheduling.sessions.Sessions`."""
        return cls(Sessions.from_fields(fields))

    def score(self, context: SchedulingContext, candidates: Sequence[Candidate]) -> Sequence[float]:
        """Whether the session lives there."""
        home = self._sessions.home_of(context)
        return [float(key_of(one.endpoint) == home) for one in candidates]

    def chosen(self, context: SchedulingContext, candidate: Candidate) -> None:
        """Bind the session to the choice."""
        self._sessions.bind(context, candidate)

    def response_header(self, endpoint: Endpoint) -> tuple[str, str] | None:
        """The token the client sends back."""
        return self._sessions.response_header(endpoint)
