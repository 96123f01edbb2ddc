"""Token-in/token-out streams: exact to the token, whatever the engine."""

from epp.core.endpoints import EngineKind
from frontend.body import Body
from frontend.pipeline.call import Call
from frontend.postprocess.tokens_wire import (
    FORMS,
    WireError,
    continue_body,
    read_stream_event,
    splice_event,
)
from frontend.sse import DONE, event


class TokenStream:
    """Remembers the ids that passed; the rest is asked for with them appended to the prompt."""

    def __init__(self, kind: EngineKind, call: Call) -> None:
        self._kind = kind
        self._request = (call.api, call.path, call.body)
        self._prompt_tokens = len(call.body.get(FORMS[kind].ids, list[int]) or [])
        self._generated: list[int] = []
        self._before = 0
        """Tokens that came from workers before this one."""
        self._several = False
        self._finished = False
        self.done = False
        self.failed = False

    @property
    def length_tokens(self) -> int | None:
        """Prompt and output so far."""
        return self._prompt_tokens + len(self._generated)

    def asking(self, body: Body) -> Body:
        """As it came: ids are all there is."""
        return body

    def event(self, data: bytes) -> bytes:
        """The event as the first worker would have written it."""
        try:
            read = read_stream_event(self._kind, data, {0: len(self._generated) - self._before})
            spliced = splice_event(self._kind, data, self._before)
        except WireError:
            self.failed = True
            return b""
        if read.refused and not self._generated:
            return event(data)  # another worker would say the same
        if read.error is not None or any(delta.finish_reason == "abort" for delta in read.deltas):
            self.failed = True
            return b""
        for delta in read.deltas:
            self._several = self._several or delta.index > 0
            self._generated.extend(delta.token_ids)
            self._finished = self._finished or delta.finish_reason is not None
        self.done = self.done or read.done
        return event(spliced)

    def why_not(self) -> str:
        """Several choices at once have no common place to go on from."""
        return "several-choices" if self._several else ""

    def go_on(self, call: Call) -> None:
        """The prompt grows by what was generated, the bounds shrink."""
        self.failed = False
        call.api, call.path, body = self._request
        self._before = len(self._generated)
        call.body = continue_body(self._kind, body, self._generated) if self._generated else body

    def conclusion(self) -> bytes | None:
        """Only the end marker, after the last token."""
        if self.done:
            return b""
        return DONE if self._finished else None
