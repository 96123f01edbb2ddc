"""The first segment: requests of ``/v1/messages`` and ``/v1/responses`` leave it as chat completions, and
prompts whose tokens are to be counted do not leave it."""

from typing import Any, Final

import msgspec

from epp.core.requests import Api
from epp.picking.names import ModelNames
from frontend.body import Body
from frontend.config.model import DEFAULT_PATHS, FrontendConfig
from frontend.errors import ApiError
from frontend.http.api import Reply, whole
from frontend.pipeline.call import Call, Segment
from frontend.pipeline.components import Components
from frontend.translate import messages_request, responses_request
from frontend.translate.chat import Chunk
from frontend.translate.count import asks_to_count, count_tokens
from frontend.translate.errors import anthropic_error
from frontend.translate.messages_answer import MessageHead, MessagesWriter, whole_message
from frontend.translate.reply import Target, TranslatedReply
from frontend.translate.responses_answer import ResponseHead, ResponsesWriter, whole_response

_CHAT_PATH: Final = DEFAULT_PATHS["chat"]
"""Where engines serve it; an operator moves only the frontend's own paths."""


class Translate:
    """Other APIs pass untouched. The client's answer speaks the API that was asked; prompts whose tokens are
    to be counted go no further, unless only a worker can."""

    name = "translate"

    def __init__(self, next_: Segment, config: FrontendConfig, components: Components) -> None:
        self.next = next_
        self._strip_preamble = config.pipeline.strip_anthropic_preamble
        self._tokenizer = components.tokenizer
        self._names = ModelNames(config.picker.tokenize.models, lambda _: False)
        """Only for base names, which do not depend on who is an adapter."""

    async def handle(self, call: Call, reply: Reply) -> None:
        """See :class:`~frontend.pipeline.call.Segment`. Raises ApiError (400) for what has no chat form."""
        if asks_to_count(call):
            _use_api_key(call)
            counted = await count_tokens(
                call,
                self._tokenizer,
                self._names.resolve(call.model).base,
                strip_preamble=self._strip_preamble,
            )
            if counted is not None:
                whole(reply, 200, (("content-type", "application/json"),), msgspec.json.encode(counted))
                return
            call.api = Api.COUNT_TOKENS  # at the worker too: nothing of it is to be split or migrated
        elif call.api is Api.MESSAGES:
            reply = TranslatedReply(reply, self._messages(call))
        elif call.api is Api.RESPONSES:
            reply = TranslatedReply(reply, _responses(call))
        await self.next.handle(call, reply)

    def _messages(self, call: Call) -> Target:
        _become(call, messages_request.chat_request(call.body, strip_preamble=self._strip_preamble))
        _use_api_key(call)
        head = MessageHead(call.request_id, call.model)

        def message(chunk: Chunk) -> bytes:
            return whole_message(head, chunk)

        return Target(MessagesWriter(head), message, _messages_error)


def _responses(call: Call) -> Target:
    body = call.body
    chat, names = responses_request.chat_request(body)
    _become(call, chat)
    echo = responses_request.echo(body)
    head = ResponseHead(call.request_id, call.model, call.arrived_ms // 1000, echo, names)

    def response(chunk: Chunk) -> bytes:
        return whole_response(head, chunk)

    return Target(ResponsesWriter(head), response, _responses_error)


def _become(call: Call, chat: dict[str, Any]) -> None:
    call.api = Api.CHAT
    call.path = _CHAT_PATH
    call.body = Body.of(chat)


def _use_api_key(call: Call) -> None:
    """Anthropic's clients send their key as ``x-api-key``, engines look for a bearer."""
    key = call.headers.get("x-api-key")
    if key and "authorization" not in call.headers:
        call.forward_headers.setdefault("authorization", f"Bearer {key}")


def _messages_error(status: int, message: str, told: bytes) -> bytes:  # noqa: ARG001 -- of another form
    return msgspec.json.encode(anthropic_error(status, message))


def _responses_error(status: int, message: str, told: bytes) -> bytes:
    """An engine's own words have the right form already."""
    if told.startswith(b"{"):
        return told
    kind = ApiError(status, message).type
    return msgspec.json.encode({"error": {"message": message, "type": kind, "param": None, "code": status}})
