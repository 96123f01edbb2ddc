"""Answers of which nothing is understood: as long as nothing was passed on, they can be asked for again."""

from frontend.body import Body
from frontend.pipeline.call import Call
from frontend.sse import DONE_DATA, event


class Restart:
    """A resumption that begins anew, or not at all."""

    def __init__(self, call: Call) -> None:
        self._request = (call.api, call.path, call.body)
        self._passed = False
        self.done = False
        self.failed = False

    @property
    def length_tokens(self) -> int | None:
        """Unknown."""
        return None

    def asking(self, body: Body) -> Body:
        """As it came."""
        return body

    def event(self, data: bytes) -> bytes:
        """As it came."""
        self._passed = True
        self.done = self.done or data == DONE_DATA
        return event(data)

    def why_not(self) -> str:
        """Once something was passed on."""
        return "unreadable-stream" if self._passed else ""

    def go_on(self, call: Call) -> None:
        """The same request again."""
        self.failed = False
        call.api, call.path, call.body = self._request

    def conclusion(self) -> bytes | None:
        """Nothing is known of the end."""
        return None
