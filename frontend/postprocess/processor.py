"""Prompts to token ids and answers to parsers: our own, shared with the picker, or an engine's package."""

from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final, Protocol, runtime_checkable

import msgspec

from epp.core.errors import BadRequestError
from epp.core.requests import Api, ChatPrompt, Prompt, TextPrompt, TokenPrompt
from epp.core.tokens import Exactness, Tokenized, Tokenizer
from epp.tokenize.decoding import TokenDecoder
from epp.tokenize.errors import LoadError, Reason
from epp.wire.openai.parse import parse_request
from epp.wire.openai.paths import api_of
from frontend.body import Body
from frontend.config.model import PipelineConfig
from frontend.errors import ApiError, bad_request, unavailable
from frontend.nvext import NvExtRequest
from frontend.postprocess.parsers import (
    REASONING_PARSERS,
    TOOL_PARSERS,
    AnswerParser,
    ParsedAnswer,
    reasoning_parser,
    reasoning_parser_name,
    tool_parser,
    tool_parser_name,
)
from frontend.postprocess.toolplan import Choice, ToolPlan
from frontend.postprocess.tools.base import TextOnly

_CHAT_PATH: Final = "/v1/chat/completions"
_TEXT_PATH: Final = "/v1/completions"


@dataclass(frozen=True, slots=True)
class Asked:
    """A request whose prompt is to be made."""

    api: Api
    """CHAT or COMPLETIONS."""
    model: str
    body: Body
    nvext: NvExtRequest
    plan: ToolPlan


@dataclass(frozen=True, slots=True)
class Prepared:
    """A request as token ids, and how its answer is read."""

    prompt: Sequence[int]
    decoder: TokenDecoder
    parser: Callable[[], AnswerParser]
    """Makes the parser of one choice."""
    keep: frozenset[int]
    """Special tokens that parsers have to see."""
    text: str | None = None
    """The prompt as the client wrote it, if it is one text; for ``echo``."""
    short_call_ids: bool = False
    """Ids of calls are nine letters and digits, which Mistral's templates insist on."""


class ChatProcessor(Protocol):
    """Renders and tokenizes prompts, and chooses the parsers of answers."""

    name: str

    async def prepare(self, asked: Asked) -> Prepared:
        """Raises ApiError: 400 for the request's faults, 503 while the model's tokenizer is not ready."""
        ...


@runtime_checkable
class DecoderSource(Protocol):
    """A tokenizer that also goes the other way (``epp.tokenize.TokenizerService``)."""

    async def decoder(self, model: str) -> TokenDecoder | None:
        """The decoder of a model; None: it is not loaded. Raises LoadError."""
        ...


class OwnProcessor:
    """Templates and tokenizers as the picker has them, parsers of this package."""

    name = "dynamo"

    def __init__(self, tokenizer: Tokenizer, config: PipelineConfig) -> None:
        """Raises ValueError, with a sentence, for what cannot work."""
        if not isinstance(tokenizer, DecoderSource):
            raise ValueError(  # noqa: TRY004 -- about the configuration, as the others
                "postprocess=frontend needs a tokenizer that can decode: configure one per model."
            )
        _known("tool_call_parser", config.tool_call_parser, TOOL_PARSERS)
        _known("reasoning_parser", config.reasoning_parser, REASONING_PARSERS)
        self._tokenizer = tokenizer
        self._decoders: DecoderSource = tokenizer
        self._config = config

    async def prepare(self, asked: Asked) -> Prepared:
        """See ChatProcessor."""
        prompt = self._prompt(asked)
        ids = _exact(await self._tokenizer.tokenize(asked.model, prompt))
        decoder = await find_decoder(self._decoders, asked.model)
        text = prompt.texts[0] if isinstance(prompt, TextPrompt) else None
        if asked.api is not Api.CHAT:
            return Prepared(ids, decoder, lambda: ParsedAnswer(None, TextOnly()), frozenset(), text)
        tools = tool_parser_name(self._config.tool_call_parser, decoder)
        reasoning = reasoning_parser_name(self._config.reasoning_parser, decoder)
        marks = tool_parser(tools, asked.plan).marks

        def parser() -> AnswerParser:
            return ParsedAnswer(
                reasoning_parser(reasoning, decoder, ids),
                tool_parser(tools, asked.plan),
                parallel=asked.plan.parallel,
            )

        keep = decoder.ids_of((*marks, *_REASONING_TOKENS))
        return Prepared(ids, decoder, parser, keep, text, short_call_ids=tools == "mistral")

    def _prompt(self, asked: Asked) -> Prompt:
        given = asked.nvext.routing.token_data
        if given is not None:
            return TokenPrompt(given)
        body = asked.body
        hidden = asked.plan.choice is Choice.NONE and self._config.exclude_tools_when_tool_choice_none
        if hidden and "tools" in body:
            body = body.replace(tools=msgspec.UNSET)
        return read_prompt(asked.api, body)


_REASONING_TOKENS: Final = ("<think>", "</think>", "[THINK]", "[/THINK]")


def read_prompt(api: Api, body: Body) -> Prompt:
    """The prompt of a body. Raises ApiError (400)."""
    path = _CHAT_PATH if api is Api.CHAT else _TEXT_PATH
    assert api_of(path) is api
    try:
        prompt = parse_request(path, body.encode()).prompt
    except BadRequestError as error:
        raise bad_request(str(error)) from error
    if prompt is None:
        raise bad_request("This prompt cannot be rendered here; it needs postprocess=engine.")
    if isinstance(prompt, ChatPrompt) and prompt.multimodal:
        raise bad_request("Images and other media need postprocess=engine.")
    if _many(prompt, body):
        raise bad_request("One request takes one prompt with frontend postprocessing.")
    return prompt


def _many(prompt: Prompt, body: Body) -> bool:
    if isinstance(prompt, TextPrompt):
        return len(prompt.texts) > 1
    if not isinstance(prompt, TokenPrompt):
        return False
    sent = body.get("prompt", list[msgspec.Raw]) or []
    return len(sent) > 1 and bytes(sent[0])[:1] == b"["


async def find_decoder(source: DecoderSource, model: str) -> TokenDecoder:
    """Raises ApiError (503) while there is none."""
    try:
        decoder = await source.decoder(model)
    except LoadError as error:
        raise unavailable(f"The tokenizer of `{model}` cannot be read.") from error
    if decoder is None:
        raise unavailable(f"The tokenizer of `{model}` is not ready.")
    return decoder


def _exact(tokenized: Tokenized) -> list[int]:
    if tokenized.exactness is not Exactness.EXACT:
        why = tokenized.degraded or str(tokenized.exactness)
        status = HTTPStatus.BAD_REQUEST if why in _CLIENTS_FAULT else HTTPStatus.SERVICE_UNAVAILABLE
        raise ApiError(status, f"The prompt cannot be tokenized here: {why}.")
    if not tokenized.tokens:
        raise bad_request("The prompt is empty.")
    return array("I", tokenized.tokens).tolist()


_CLIENTS_FAULT: Final = frozenset(
    {
        Reason.NO_TEMPLATE,
        Reason.TEMPLATE_REFUSED,
        Reason.TEMPLATE_ERROR,
        Reason.TEMPLATE_TIMEOUT,
        Reason.BAD_CONTENT,
        Reason.BAD_TEXT,
        Reason.BAD_TOKENS,
        Reason.NO_PROMPT,
        Reason.MULTIMODAL,
    }
)
"""Another attempt at the same request would end the same."""


def _known(setting: str, value: str, allowed: Sequence[str]) -> None:
    if value not in allowed:
        raise ValueError(f"{setting} must be one of {', '.join(allowed)}, not {value!r}.")
