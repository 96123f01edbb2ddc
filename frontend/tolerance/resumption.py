"""What it takes to let an answer go on at another worker: one interface, a form per kind of stream."""

from typing import Protocol

from epp.core.endpoints import EngineKind, PoolSnapshot, Role
from epp.core.requests import Api
from frontend.body import Body
from frontend.pipeline.call import Call
from frontend.postprocess.tokens_wire import kind_of
from frontend.tolerance.openai_stream import ContextWindow, OpenAiStream
from frontend.tolerance.plain import Restart
from frontend.tolerance.token_stream import TokenStream


class Resumption(Protocol):
    """One stream's memory. It reads every event once and knows how to go on after the last one it passed."""

    done: bool
    """The end of the stream was passed."""
    failed: bool
    """The engine itself reported a fault inside the stream."""

    @property
    def length_tokens(self) -> int | None:
        """Prompt and output so far; None: unknown."""
        ...

    def asking(self, body: Body) -> Body:
        """The first request, which asks for whatever is needed to go on later."""
        ...

    def event(self, data: bytes) -> bytes:
        """One event's data as the client gets it, framed; empty: nothing."""
        ...

    def why_not(self) -> str:
        """Why the stream cannot go on elsewhere, one hyphenated word; empty: it can."""
        ...

    def go_on(self, call: Call) -> None:
        """Make ``call`` the request for the rest."""
        ...

    def conclusion(self) -> bytes | None:
        """What the client is still owed of a stream whose last token has passed; empty: nothing.
        None: tokens are missing."""
        ...


def resumption_of(call: Call, snapshot: PoolSnapshot, window: ContextWindow) -> Resumption:
    """The form of ``call``'s stream. Where none is known, a request can only be begun anew."""
    kind = kind_of(call.api, call.body)
    if kind is not None:
        return TokenStream(kind, call)
    if call.stream and call.api in (Api.CHAT, Api.COMPLETIONS) and _tell_ids(snapshot):
        return OpenAiStream(call, window)
    return Restart(call)


def _tell_ids(snapshot: PoolSnapshot) -> bool:
    """Every worker that may answer takes ``return_token_ids`` (vLLM does; others refuse or ignore it)."""
    serving = [e for e in snapshot.endpoints if e.role in (Role.AGGREGATED, Role.DECODE)]
    return bool(serving) and all(endpoint.engine is EngineKind.VLLM for endpoint in serving)
