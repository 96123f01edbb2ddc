"""OpenAI's answers: chunks of a stream, or the whole, for chats and completions."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

import msgspec

from frontend import sse
from frontend.postprocess.choice import Update
from frontend.postprocess.logprobs import chat_logprobs, completion_logprobs
from frontend.postprocess.pieces import CallArguments, CallStart, Content, Piece, Reasoning
from frontend.postprocess.processor import Prepared

JsonDict: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True)
class FormOptions:
    """What shapes an answer besides its content."""

    id: str
    created: int
    """Unix seconds."""
    model: str
    prepared: Prepared
    logprobs: int | None = None
    """Alternatives per token; None: no log-probabilities."""
    token_ids: bool = False
    """``return_token_ids``."""
    reasoning_field: str = "reasoning_content"
    echo: str = ""
    """Put before a completion's text."""
    call_id: Callable[[], str] = str
    """Makes the id of a call."""


@dataclass(slots=True)
class _Call:
    id: str
    name: str
    arguments: list[str] = field(default_factory=list[str])


@dataclass(slots=True)
class _Gathered:
    """A choice so far."""

    content: list[str] = field(default_factory=list[str])
    reasoning: list[str] = field(default_factory=list[str])
    calls: list[_Call] = field(default_factory=list[_Call])
    tokens: list[int] = field(default_factory=list[int])
    logprobs: list[Any] = field(default_factory=list[Any])
    finish_reason: str | None = None
    stop_reason: int | str | None = None


class Form(Protocol):
    """Shapes one answer; the updates of all its choices pass through in order."""

    def chunks(self, update: Update) -> bytes:
        """Events for a stream."""
        ...

    def end(self, usage: Mapping[str, Any] | None) -> bytes:
        """What ends a stream, with the usage if asked for."""
        ...

    def gather(self, update: Update) -> None:
        """Keep an update for the whole answer."""
        ...

    def whole(self, usage: Mapping[str, Any]) -> bytes:
        """The whole answer."""
        ...


class _BaseForm:
    """What both forms share."""

    object_name = ""
    chunk_name = ""

    def __init__(self, options: FormOptions) -> None:
        self._options = options
        self._base: JsonDict = {"id": options.id, "created": options.created, "model": options.model}
        self._choices: dict[int, _Gathered] = {}
        self._prompt_sent = False

    def end(self, usage: Mapping[str, Any] | None) -> bytes:
        """See Form."""
        last = b"" if usage is None else self._event({"choices": [], "usage": usage})
        return last + sse.DONE

    def gather(self, update: Update) -> None:
        """See Form."""
        choice = self._choices.setdefault(update.index, _Gathered())
        for piece in update.pieces:
            self._keep(choice, piece)
        choice.tokens += update.tokens
        choice.logprobs += update.logprobs
        if update.finish_reason is not None:
            choice.finish_reason, choice.stop_reason = update.finish_reason, update.stop_reason

    def whole(self, usage: Mapping[str, Any]) -> bytes:
        """See Form."""
        choices = [self._whole_choice(index, choice) for index, choice in sorted(self._choices.items())]
        answer = {**self._base, "object": self.object_name, "choices": choices, "usage": usage}
        if self._options.token_ids:
            answer["prompt_token_ids"] = self._options.prepared.prompt
        return msgspec.json.encode(answer)

    def _keep(self, choice: _Gathered, piece: Piece) -> None:
        match piece:
            case Content(text):
                choice.content.append(text)
            case Reasoning(text):
                choice.reasoning.append(text)
            case CallStart(name, call_id):
                choice.calls.append(_Call(call_id or self._options.call_id(), name))
            case CallArguments(text):
                choice.calls[-1].arguments.append(text)

    def _whole_choice(self, index: int, choice: _Gathered) -> JsonDict:
        raise NotImplementedError

    def _ending(self, index: int, choice: _Gathered) -> JsonDict:
        fields: JsonDict = {
            "index": index,
            "finish_reason": choice.finish_reason,
            "stop_reason": choice.stop_reason,
        }
        return fields | ({"token_ids": choice.tokens} if self._options.token_ids else {})

    def _chunk(self, choice: JsonDict, update: Update, *, first: bool, last: bool) -> bytes:
        """One chunk; what belongs to an update as a whole goes with its first or last one."""
        fields: JsonDict = {"choices": [choice]}
        choice["finish_reason"] = update.finish_reason if last else None
        if last and update.stop_reason is not None:
            choice["stop_reason"] = update.stop_reason
        if first and update.tokens and self._options.token_ids:
            choice["token_ids"] = update.tokens
            fields |= self._prompt_once()
        return self._event(fields)

    def _prompt_once(self) -> JsonDict:
        sent, self._prompt_sent = self._prompt_sent, True
        return {} if sent else {"prompt_token_ids": self._options.prepared.prompt}

    def _event(self, fields: JsonDict) -> bytes:
        return sse.event(msgspec.json.encode({**self._base, "object": self.chunk_name, **fields}))


class ChatForm(_BaseForm):
    """``chat.completion`` and its chunks."""

    object_name = "chat.completion"
    chunk_name = "chat.completion.chunk"

    def __init__(self, options: FormOptions) -> None:
        super().__init__(options)
        self._begun: set[int] = set()
        self._calls: dict[int, int] = {}
        """Calls begun, by choice."""
        self._waiting: dict[int, list[Any]] = {}
        """Log-probabilities of tokens whose text is still held."""

    def chunks(self, update: Update) -> bytes:
        """See Form."""
        deltas = [self._delta(update.index, piece) for piece in update.pieces]
        if update.index not in self._begun:
            self._begun.add(update.index)
            deltas.insert(0, {"role": "assistant", "content": ""})
        waiting = self._waiting.setdefault(update.index, [])
        waiting += update.logprobs
        if not deltas and (update.finish_reason is not None or (self._options.token_ids and update.tokens)):
            deltas.append({})
        out: list[bytes] = []
        for at, delta in enumerate(deltas):
            last = at + 1 == len(deltas)
            choice: JsonDict = {"index": update.index, "delta": delta, "logprobs": None}
            if last and waiting:
                choice["logprobs"] = self._logprobs(waiting)
                waiting.clear()
            out.append(self._chunk(choice, update, first=at == 0, last=last))
        return b"".join(out)

    def _delta(self, index: int, piece: Piece) -> JsonDict:
        match piece:
            case Content(text):
                return {"content": text}
            case Reasoning(text):
                return {self._options.reasoning_field: text}
            case CallStart(name, call_id):
                number = self._calls[index] = self._calls.get(index, -1) + 1
                function = {"name": name, "arguments": ""}
                call = {"index": number, "id": call_id or self._options.call_id(), "type": "function"}
                return {"tool_calls": [{**call, "function": function}]}
            case CallArguments(text):
                number = self._calls[index]
                return {"tool_calls": [{"index": number, "function": {"arguments": text}}]}

    def _whole_choice(self, index: int, choice: _Gathered) -> JsonDict:
        calls = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": "".join(call.arguments)},
            }
            for call in choice.calls
        ]
        content = "".join(choice.content)
        message: JsonDict = {"role": "assistant", "content": content or (None if calls else "")}
        if choice.reasoning:
            message[self._options.reasoning_field] = "".join(choice.reasoning)
        if calls:
            message["tool_calls"] = calls
        logprobs = None if self._options.logprobs is None else self._logprobs(choice.logprobs)
        return self._ending(index, choice) | {"message": message, "logprobs": logprobs}

    def _logprobs(self, entries: Sequence[Any]) -> JsonDict:
        return chat_logprobs(self._options.prepared.decoder, entries, self._options.logprobs or 0)


class CompletionForm(_BaseForm):
    """``text_completion``, whose chunks have the same form."""

    object_name = chunk_name = "text_completion"

    def __init__(self, options: FormOptions) -> None:
        super().__init__(options)
        self._offsets: dict[int, int] = {}
        """Characters of tokens passed so far, by choice."""

    def chunks(self, update: Update) -> bytes:
        """See Form."""
        text = _text(update.pieces)
        if update.index not in self._offsets:
            self._offsets[update.index] = 0
            text = self._options.echo + text
        quiet = update.tokens and self._options.token_ids
        if not (text or update.logprobs or quiet or update.finish_reason):
            return b""
        logprobs = self._logprobs(update.index, update.logprobs) if update.logprobs else None
        choice: JsonDict = {"index": update.index, "text": text, "logprobs": logprobs}
        return self._chunk(choice, update, first=True, last=True)

    def _whole_choice(self, index: int, choice: _Gathered) -> JsonDict:
        text = self._options.echo + "".join(choice.content)
        asked = self._options.logprobs is not None
        logprobs = self._logprobs(index, choice.logprobs) if asked else None
        return self._ending(index, choice) | {"text": text, "logprobs": logprobs}

    def _logprobs(self, index: int, entries: Sequence[Any]) -> JsonDict:
        offset = self._offsets.get(index, 0)
        decoder = self._options.prepared.decoder
        found = completion_logprobs(decoder, entries, self._options.logprobs or 0, offset)
        self._offsets[index] = offset + sum(map(len, found["tokens"]))
        return found


def _text(pieces: Sequence[Piece]) -> str:
    return "".join(piece.text for piece in pieces if not isinstance(piece, CallStart))
