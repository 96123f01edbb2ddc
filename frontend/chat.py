"""One conversation with one model, as a client of a frontend's HTTP port."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Final, TypeVar
from urllib.parse import quote

import msgspec
import orjson

from frontend.http.api import Flow, Upstream, UpstreamError, UpstreamRequest
from frontend.sse import DONE_DATA, SseEvent, SseReader

_MODEL_DEADLINE_S: Final = 60.0
_MODEL_POLL_S: Final = 0.2
_MAX_ANSWER_BYTES: Final = 16 * 1024 * 1024
_MAX_TURNS: Final = 256
"""Messages that go along; older ones are forgotten."""


class _Delta(msgspec.Struct, frozen=True):
    content: str | None = None


class _Choice(msgspec.Struct, frozen=True):
    delta: _Delta = _Delta()


class _Chunk(msgspec.Struct, frozen=True):
    choices: tuple[_Choice, ...] = ()
    message: str = ""
    """Of an error in place of a chunk."""


class _Model(msgspec.Struct, frozen=True):
    id: str


class _Models(msgspec.Struct, frozen=True):
    data: tuple[_Model, ...] = ()


class _Ready(msgspec.Struct, frozen=True):
    ready: bool = False
    reason: str = ""


_Page = TypeVar("_Page", _Models, _Ready)


class ChatError(Exception):
    """There is no answer; the text says why, to a person."""


class _Answer:
    """A sink for a streamed answer: shows the text as it comes, and keeps it."""

    def __init__(self, show: Callable[[str], None]) -> None:
        self._show = show
        self._reader = SseReader()
        self._error: str | None = None
        self.text = ""

    def data(self, piece: bytes) -> None:
        """More of the stream."""
        try:
            events = self._reader.feed(piece)
        except ValueError as error:
            self._error = str(error)
            return
        for event in events:
            self._take(event)

    def attach(self, source: Flow | None) -> None:
        """A terminal is never full."""

    def whole(self) -> str:
        """The text; raises ChatError when the stream told an error."""
        if self._error is not None:
            raise ChatError(self._error)
        return self.text

    def _take(self, event: SseEvent) -> None:
        if event.data == DONE_DATA:
            return
        try:
            chunk = msgspec.json.decode(event.data, type=_Chunk)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            self._error = f"a chunk that cannot be read: {error}"
            return
        if chunk.message:
            self._error = chunk.message
        for choice in chunk.choices:
            if choice.delta.content and len(self.text) < _MAX_ANSWER_BYTES:
                self.text += choice.delta.content
                self._show(choice.delta.content)


class Chat:
    """One conversation with one model."""

    def __init__(self, upstream: Upstream, host_port: str, paths: Mapping[str, str]) -> None:
        """``paths``: where the frontend serves ``chat`` and ``models``."""
        self._upstream = upstream
        self._host_port = host_port
        self._paths = paths
        self._model = ""
        self._turns: list[dict[str, str]] = []

    async def begin(self, waits: Callable[[str], None]) -> str:
        """Wait until a model can be served; its name. ``waits`` is told for what. Raises ChatError."""
        told = ""
        try:
            async with asyncio.timeout(_MODEL_DEADLINE_S):
                while (why := await self._why_not()) is not None:
                    if why != told:
                        waits(why)
                        told = why
                    await asyncio.sleep(_MODEL_POLL_S)
        except TimeoutError:
            raise ChatError(f"no model can be served after {_MODEL_DEADLINE_S:g} s: {told}") from None
        return self._model

    async def _why_not(self) -> str | None:
        """Why no model can be served yet; None: the first can, and is the one to talk with."""
        models = await self._get(self._paths["models"], _Models)
        if not models.data:
            return "no worker serves a model"
        self._model = models.data[0].id
        path = f"{self._paths['models']}/{quote(self._model, safe='/')}/ready"
        ready = await self._get(path, _Ready)
        return None if ready.ready else f"{self._model}: {ready.reason}"

    async def say(self, text: str, show: Callable[[str], None]) -> None:
        """Ask, and show the answer as it streams; raises ChatError. What was cancelled is remembered as far
        as it was shown, what failed is forgotten."""
        asked = [*self._turns, {"role": "user", "content": text}]
        answer = _Answer(show)
        try:
            await self._ask(asked, answer)
        except (UpstreamError, ChatError) as error:
            raise ChatError(str(error)) from error
        except asyncio.CancelledError:
            self._remember(asked, answer.text)
            raise
        self._remember(asked, answer.whole())

    def _remember(self, asked: list[dict[str, str]], answer: str) -> None:
        self._turns = [*asked, {"role": "assistant", "content": answer}][-_MAX_TURNS:]

    async def _ask(self, messages: list[dict[str, str]], answer: _Answer) -> None:
        body = orjson.dumps({"model": self._model, "messages": messages, "stream": True})
        headers = (("content-type", "application/json"),)
        response = await self._upstream.send(
            UpstreamRequest(self._host_port, "POST", self._paths["chat"], headers, body)
        )
        if response.status != 200:
            raise ChatError(_said(response.status, await response.read(_MAX_ANSWER_BYTES)))
        await response.pipe(answer)
        answer.whole()

    async def _get(self, path: str, kind: type[_Page]) -> _Page:
        try:
            response = await self._upstream.send(UpstreamRequest(self._host_port, "GET", path))
            body = await response.read(_MAX_ANSWER_BYTES)
            return msgspec.json.decode(body, type=kind)
        except (UpstreamError, msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise ChatError(f"{path} cannot be read: {error}") from error


def _said(status: int, body: bytes) -> str:
    """What an error answer says."""
    try:
        message = msgspec.json.decode(body, type=_Chunk).message
    except (msgspec.MsgspecError, UnicodeDecodeError):
        message = ""
    return message or f"status {status}"
