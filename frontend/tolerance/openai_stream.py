"""Chat and completion streams of engines that tell token ids (vLLM's ``return_token_ids``).

The ids make it exact: the rest of an answer is asked for as a completion of prompt and output so far, and its
chunks are given the shape, the name and the counts of the stream the client is reading. What an engine's
parsers made of the text (tool calls, open reasoning, structured output), and text it holds back to look for
stop strings, cannot be taken up by another engine: such streams say why not, and need
``postprocess=frontend``, where parsing happens behind the migration.
"""

from collections.abc import Callable
from typing import Any, Final, TypeAlias

import msgspec

from epp.core.requests import Api
from frontend.body import Body
from frontend.pipeline.call import Call
from frontend.sse import DONE, DONE_DATA, event
from frontend.tolerance.continuing import Counts, answer_limit, completion_body, obstacle

ContextWindow: TypeAlias = Callable[[str], int | None]
"""Prompt and answer together of a model, in tokens; None: unknown."""
_Raw: TypeAlias = dict[str, msgspec.Raw]

_OBJECT: Final = msgspec.json.Decoder(_Raw)
_CHOICES: Final = msgspec.json.Decoder(list[_Raw])
_IDS: Final = msgspec.json.Decoder(list[int] | None)
_TEXT: Final = msgspec.json.Decoder(str | None)
_NAMES: Final = ("id", "created", "model", "object")
"""Fields that make chunks one stream."""
_EMPTY: Final = (b"null", b'""', b"[]")
ABORTED: Final = b'"abort"'
"""How an engine that is told to stop ends what it still runs (``finish_reason``); a client's own abort closes
its connection, so nobody reads that."""


class OpenAiStream:
    """Implements :class:`frontend.tolerance.resumption.Resumption`."""

    def __init__(self, call: Call, window: ContextWindow) -> None:
        self._chat = call.api is Api.CHAT
        self._request = (call.api, call.path, call.body)
        self._model = call.model
        self._window = window
        self._obstacle = obstacle(call.body, chat=self._chat)
        self._wants_ids = bool(call.body.get("return_token_ids", bool))
        self._names: _Raw = {}
        self._prompt: list[int] = []
        self._generated: list[int] = []
        """Ids whose text has passed."""
        self._silent: list[int] = []
        """Ids since then: their text is still held back (half a character), so they are generated again."""
        self._counts = Counts()
        self._role_passed = False
        self._text_passed = False
        self._parsed = ""
        """What the engine's parsers are in the middle of."""
        self._finished = False
        self._usage_passed = False
        self.done = False
        self.failed = False

    @property
    def length_tokens(self) -> int | None:
        """Prompt and output so far; None before the first chunk."""
        return len(self._prompt) + len(self._generated) if self._prompt else None

    def asking(self, body: Body) -> Body:
        """With the ids."""
        return body.replace(return_token_ids=True)

    def event(self, data: bytes) -> bytes:
        """The chunk in the client's stream."""
        if data == DONE_DATA:
            self.done = True
            return DONE
        try:
            return self._chunk(_OBJECT.decode(data))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            self.failed = True
            return b""

    def why_not(self) -> str:
        """As long as no text has passed nothing stands in the way."""
        if not self._text_passed:
            return ""
        if self._obstacle or self._parsed:
            return self._obstacle or self._parsed
        if not self._prompt or not self._generated:
            return "no-token-ids"
        return "" if self._limit() is not None else "unknown-context-window"

    def go_on(self, call: Call) -> None:
        """The same again if no text has passed, else the rest as a completion."""
        self.failed = False
        call.api, call.path, body = self._request
        self._silent.clear()
        if not self._text_passed:
            call.body = self.asking(body)
            return
        limit = self._limit()
        assert limit is not None, "why_not was asked"
        self._counts.moved(len(self._generated))
        ids = [*self._prompt, *self._generated]
        if self._chat:
            call.path = call.path.removesuffix("/chat/completions") + "/completions"
        call.api = Api.COMPLETIONS
        call.body = completion_body(body, ids, limit, len(self._generated))

    def conclusion(self) -> bytes | None:
        """Usage, if it was asked for, and the end marker."""
        if self.done or not self._finished:
            return b"" if self.done else None
        if self._usage_passed:
            return DONE
        usage = self._counts.conclusion(self._request[2], len(self._prompt), len(self._generated))
        if usage is None:
            return DONE
        return self._framed({"choices": msgspec.Raw(b"[]"), "usage": usage}) + DONE

    def _limit(self) -> int | None:
        made = len(self._generated)
        return answer_limit(self._request[2], len(self._prompt), made, self._window(self._model))

    # --- chunks -------------------------------------------------------------------------------------------

    def _chunk(self, chunk: _Raw) -> bytes:
        if "choices" not in chunk:
            self.failed = True  # an error object in place of a chunk
            return b""
        if not self._names:
            self._names = {name: chunk[name] for name in _NAMES if name in chunk}
        self._take_prompt(chunk)
        choices = [self._choice(choice) for choice in _CHOICES.decode(chunk["choices"])]
        kept = [choice for choice in choices if choice is not None]
        if self.failed or (choices and not kept):
            return b""
        if "usage" in chunk:
            chunk["usage"] = self._counts.adjusted(chunk["usage"])
            self._usage_passed = not choices
        chunk["choices"] = msgspec.Raw(msgspec.json.encode(kept))
        return self._framed(chunk)

    def _framed(self, chunk: _Raw) -> bytes:
        return event(msgspec.json.encode(chunk | self._names))

    def _take_prompt(self, holder: _Raw) -> None:
        raw = holder.pop("prompt_token_ids", None)
        if raw is None or self._prompt:
            return
        self._prompt = _IDS.decode(raw) or []
        if self._wants_ids and self._chat:
            holder["prompt_token_ids"] = raw

    def _choice(self, choice: _Raw) -> _Raw | None:
        """One choice as the client gets it; None: it says nothing new."""
        self._take_prompt(choice)
        raw = choice.pop("token_ids", None)
        self._silent += (_IDS.decode(raw) if raw is not None else None) or []
        if bytes(choice.get("index", b"0")) != b"0":
            self._parsed = "several-choices"
        if self._chat and "delta" not in choice:
            choice = _as_chat(choice)
        said = self._text_of(choice)
        reason = bytes(choice.get("finish_reason", b"null"))
        if reason == ABORTED:
            self.failed = True
            return None
        if reason != b"null":
            self._finished = said = True
        if said:
            return self._told(choice)
        if not self._chat or self._role_passed:
            return None
        self._role_passed = True
        return choice

    def _told(self, choice: _Raw) -> _Raw:
        """A choice whose text passes now, with the ids that made it."""
        if self._wants_ids:
            choice["token_ids"] = msgspec.Raw(msgspec.json.encode(self._silent))
            if not self._chat and not self._text_passed:
                choice["prompt_token_ids"] = msgspec.Raw(msgspec.json.encode(self._prompt))
        self._text_passed = True
        self._generated += self._silent
        self._silent = []
        return choice

    def _text_of(self, choice: _Raw) -> bool:
        """Whether the choice carries anything a client shows."""
        if not self._chat:
            return bytes(choice.get("text", b"null")) not in _EMPTY
        delta = _OBJECT.decode(choice["delta"])
        said = {name for name, raw in delta.items() if name != "role" and bytes(raw) not in _EMPTY}
        if "tool_calls" in said:
            self._parsed = "tool-calls"
        elif said and self._parsed != "tool-calls":
            self._parsed = "" if "content" in said else "reasoning"
        return bool(said)


def _as_chat(choice: _Raw) -> _Raw:
    """A completion's choice as a chat's."""
    text = _TEXT.decode(choice.pop("text", msgspec.Raw(b"null"))) or ""
    delta: dict[str, Any] = {"content": text} if text else {}
    return choice | {"delta": msgspec.Raw(msgspec.json.encode(delta))}
