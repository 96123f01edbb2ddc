"""One answer on its way: the engine's events in, OpenAI's bytes out, no I/O."""

from dataclasses import dataclass
from typing import Any, TypeAlias

from epp.core.endpoints import EngineKind
from frontend.postprocess.choice import ChoiceReader, Update
from frontend.postprocess.forms import Form
from frontend.postprocess.processor import Prepared
from frontend.postprocess.sampling import Sampling
from frontend.postprocess.tokens_wire import TokenEvent, read_stream_event

JsonDict: TypeAlias = dict[str, Any]


class EngineFailedError(Exception):
    """The engine reported an error inside its stream; the message is its own and not for clients."""


class EngineRefusedError(Exception):
    """The engine found the request itself wrong, before any token; the message is for its client."""


@dataclass(frozen=True, slots=True)
class StreamOptions:
    """How the client wants to be answered."""

    stream: bool
    usage: bool = False
    """A last chunk with the usage."""


class Answer:
    """All choices of one answer. ``complete`` once nothing more can come that the client should see."""

    def __init__(
        self, kind: EngineKind, prepared: Prepared, sampling: Sampling, form: Form, options: StreamOptions
    ) -> None:
        self._kind = kind
        self._form = form
        self._options = options
        self._prompt_tokens = len(prepared.prompt)
        self._choices = [ChoiceReader(index, prepared, sampling) for index in range(sampling.choices)]
        self._seen: dict[int, int] = {}
        self.cached_tokens: int | None = None
        """Prompt tokens the engine had in its cache."""
        self.stopped = False
        """Every choice ended by a stop string found here: the engine need not go on."""

    @property
    def complete(self) -> bool:
        """Every choice has its end."""
        return all(choice.finished for choice in self._choices)

    @property
    def output_tokens(self) -> int:
        """Of all choices."""
        return sum(choice.tokens for choice in self._choices)

    def event(self, data: bytes) -> bytes:
        """What one event of the engine means for the client's stream; nothing if it is answered whole.

        Raises WireError, EngineRefusedError and EngineFailedError.
        """
        event = read_stream_event(self._kind, data, self._seen)
        if event.error is not None and event.refused and not self._seen:
            raise EngineRefusedError(event.error)
        if event.error is not None:
            raise EngineFailedError(event.error)
        if event.cached_tokens is not None:
            self.cached_tokens = event.cached_tokens
        return b"".join(self._written(update) for update in self._updates(event))

    def end(self) -> bytes:
        """The end of the stream, or the whole answer."""
        if not self._options.stream:
            return self._form.whole(self._usage())
        return self._form.end(self._usage() if self._options.usage else None)

    def _updates(self, event: TokenEvent) -> list[Update]:
        updates: list[Update] = []
        for delta in event.deltas:
            if not 0 <= delta.index < len(self._choices):
                continue
            self._seen[delta.index] = self._seen.get(delta.index, 0) + len(delta.token_ids)
            choice = self._choices[delta.index]
            update = choice.push(delta)
            if update is None:
                continue
            updates.append(update)
            if choice.finished and delta.finish_reason is None:
                self.stopped = self.complete
        return updates

    def _written(self, update: Update) -> bytes:
        if self._options.stream:
            return self._form.chunks(update)
        self._form.gather(update)
        return b""

    def _usage(self) -> JsonDict:
        usage: JsonDict = {
            "prompt_tokens": self._prompt_tokens,
            "completion_tokens": self.output_tokens,
            "total_tokens": self._prompt_tokens + self.output_tokens,
        }
        if self.cached_tokens is not None:
            usage["prompt_tokens_details"] = {"cached_tokens": self.cached_tokens}
        reasoning = sum(choice.reasoning_tokens for choice in self._choices)
        if reasoning:
            usage["completion_tokens_details"] = {"reasoning_tokens": reasoning}
        return usage
