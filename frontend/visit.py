"""What watches requests from outside the pipeline: metrics, traces, the access log."""

from dataclasses import dataclass
from typing import Protocol

from epp.core.requests import Api
from frontend.http.api import Reply, Request
from frontend.outgoing import Outgoing
from frontend.pipeline.call import Call


@dataclass(slots=True)
class Visit:
    """One request from its head to its end."""

    request: Request
    out: Outgoing
    endpoint: str = ""
    """Label ``endpoint``: ``chat_completions``, ``models``, …; empty: no route."""
    api: Api | None = None
    """None: a page of our own."""
    call: Call | None = None
    """None: refused before it was understood."""
    status: int = 0
    """As sent; 499: the client left."""
    error_type: str = ""
    """Label ``error_type``; empty: a success."""
    ended_s: float = 0.0
    """Monotonic, as ``request.received_s``."""


class Observer(Protocol):
    """Called on the event loop, in the request's path: it must be quick and must not raise."""

    def begun(self, visit: Visit, reply: Reply) -> Reply:
        """A call enters the pipeline; what is returned is what the pipeline answers into."""
        ...

    def ended(self, visit: Visit) -> None:
        """Exactly once per request, pages included."""
        ...

    def page(self) -> bytes:
        """More lines for ``/metrics``; may be called from another thread."""
        ...
