"""One request that went all the way: the response as the client saw it, the pick as the picker kept it."""

import json
from dataclasses import dataclass, field
from typing import Any

from epp.testing.load.http1 import EventReader, ResponseReader


@dataclass(slots=True)
class Exchange:
    """One response while it arrives; what the load client calls a meter."""

    sent_s: float
    streaming: bool
    response: ResponseReader = field(default_factory=ResponseReader)
    first_event_s: float | None = None
    """When the first server-sent event was complete: the engine sends it with the first token."""
    events: list[Any] = field(default_factory=list)
    _reader: EventReader = field(default_factory=EventReader)
    body: bytes = b""
    """What did not stream."""

    @property
    def done(self) -> bool:
        return self.response.done

    @property
    def json(self) -> Any:
        """The whole answer of a request that did not stream."""
        return json.loads(self.body)

    @property
    def usage(self) -> dict[str, Any]:
        """Token counts, wherever they stand."""
        found = [e["usage"] for e in (self.events if self.streaming else [self.json]) if e.get("usage")]
        return dict(found[-1])

    @property
    def cached_tokens(self) -> int:
        """Prompt tokens the engine found in its cache."""
        return int((self.usage["prompt_tokens_details"] or {}).get("cached_tokens") or 0)

    def feed(self, data: bytes, now_s: float) -> None:
        body = self.response.feed(data)
        if not self.streaming or self.response.status != 200:
            self.body += body
            return
        for event in self._reader.feed(body):
            self.first_event_s = self.first_event_s or now_s
            if event != b"[DONE]":
                self.events.append(json.loads(event))


@dataclass(frozen=True, slots=True)
class Asked:
    """One request that went all the way, and what the picker kept of it."""

    exchange: Exchange
    pick: dict[str, Any]

    @property
    def predicted(self) -> int:
        """Cached tokens the picker's view promised for the worker it chose."""
        return int(self.pick["cached_tokens"])

    @property
    def reported(self) -> int:
        """Cached tokens the engine says it found."""
        return self.exchange.cached_tokens

    @property
    def prompt_tokens(self) -> int:
        return int(self.exchange.usage["prompt_tokens"])
