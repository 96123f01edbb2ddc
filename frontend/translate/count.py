"""How many tokens a prompt has, without running it: ``/v1/messages/count_tokens`` and
``/v1/responses/input_tokens``.

The request is translated as it would be to run, and its chat prompt is tokenized in this process.
"""

from typing import Any, Final

import msgspec

from epp.core.errors import BadRequestError
from epp.core.requests import Api
from epp.core.tokens import Tokenizer
from epp.wire.openai.parse import parse_request
from frontend.body import Body
from frontend.config.model import DEFAULT_PATHS
from frontend.errors import bad_request
from frontend.pipeline.call import Call
from frontend.translate import messages_request, responses_request

INPUT_TOKENS: Final = "/input_tokens"
"""What follows the path of Responses to have its tokens counted."""


def asks_to_count(call: Call) -> bool:
    """Whether only a number is asked for."""
    return call.api is Api.COUNT_TOKENS or (call.api is Api.RESPONSES and call.path.endswith(INPUT_TOKENS))


async def count_tokens(
    call: Call, tokenizer: Tokenizer, base: str, *, strip_preamble: bool = True
) -> dict[str, Any] | None:
    """The answer: ``{"input_tokens": n}``, for Responses with its ``object``; ``base`` is the base model of
    the one that was named. None: its tokenizer is not at hand, only a worker knows. Raises ApiError (400)."""
    if call.api is Api.COUNT_TOKENS:
        chat = messages_request.chat_request(call.body, strip_preamble=strip_preamble, counting=True)
        kind: dict[str, Any] = {}
    else:
        chat, _ = responses_request.chat_request(call.body)
        kind = {"object": "response.input_tokens"}
    counted = await _count(chat, base, tokenizer)
    return None if counted is None else kind | {"input_tokens": counted}


async def _count(chat: dict[str, Any], base: str, tokenizer: Tokenizer) -> int | None:
    body = Body.of(chat | {"model": msgspec.Raw(msgspec.json.encode(base))})
    try:
        prompt = parse_request(DEFAULT_PATHS["chat"], body.encode()).prompt
    except BadRequestError as error:
        raise bad_request(error.message) from error
    if prompt is None:
        return None
    tokenized = await tokenizer.tokenize(base, prompt)
    return tokenized.prompt_tokens if tokenized.are_ids else None  # estimates are of no unit a client knows
