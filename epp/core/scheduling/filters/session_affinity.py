"""``session-affinity-filter``: a session stays on its endpoint while that is a candidate."""

from collections.abc import Sequence

from epp.config.tree import Fields
from epp.core.endpoints import Endpoint
from epp.core.scheduling.context import Candidate, SchedulingContext
from epp.core.scheduling.sessions import Sessions, key_of


class SessionAffinityFilter:
    """Keeps the session's endpoint alone."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    @classmethod
    def from_fields(cls, fields: Fields) -> "SessionAffinityFilter":
        """Parameters of :class:`~epp.core.scheduling.sessions.Sessions`."""
        return cls(Sessions.from_fields(fields))

    def keep(self, context: SchedulingContext, candidates: Sequence[Candidate]) -> Sequence[Candidate]:
        """The session's endpoint (every rank of it); everyone without a session or when it is gone."""
        home = self._sessions.home_of(context)
        kept = [one for one in candidates if key_of(one.endpoint) == home] if home else []
        return kept or candidates

    def chosen(self, context: SchedulingContext, candidate: Candidate) -> None:
        """Bind the session to the choice."""
        self._sessions.bind(context, candidate)

    def response_header(self, endpoint: Endpoint) -> tuple[str, str] | None:
        """The token the client sends back."""
        return self._sessions.response_header(endpoint)
