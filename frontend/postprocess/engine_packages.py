"""``--dyn-chat-processor vllm|sglang``: an engine's own templating and parsers, from its installed package.

Nothing of those packages is imported before it is asked for. Their objects have no types here; each adapter
is the one place that knows their names (vLLM 0.32, SGLang 0.5).
"""

import asyncio
import importlib
import importlib.util
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import msgspec

from epp.core.requests import Api
from epp.core.tokens import Tokenizer
from frontend.config.model import FrontendConfig
from frontend.errors import ApiError, bad_request
from frontend.postprocess.parsers import AnswerParser, reasoning_parser_name, tool_parser_name
from frontend.postprocess.pieces import CallArguments, CallStart, Content, Piece, Reasoning
from frontend.postprocess.processor import (
    Asked,
    ChatProcessor,
    DecoderSource,
    OwnProcessor,
    Prepared,
    find_decoder,
)

_OWN: Final = "dynamo"
_TEMPLATE_FIELDS: Final = ("add_generation_prompt", "continue_final_message", "documents")


@dataclass(frozen=True, slots=True)
class _Parsed:
    """What a package's parsers are made for."""

    tokenizer: Any
    tools: str | None
    """Name of the parser of calls; None: there are none to be read."""
    reasoning: str | None
    body: Mapping[str, Any]
    """The client's request."""
    prompt: Sequence[int]


class _Package(Protocol):
    """What one engine's package is asked for."""

    name: str

    def tokenizer(self, path: str, *, trust_remote_code: bool) -> Any:
        """A tokenizer as the engine loads it; blocks."""
        ...

    def parser(self, asked: "_Parsed") -> AnswerParser:
        """The parser of one choice."""
        ...


def open_processor(config: FrontendConfig, tokenizer: Tokenizer) -> ChatProcessor:
    """The configured chat processor. Raises ValueError, with a sentence, for one that is not to be had."""
    name = config.pipeline.chat_processor
    own = OwnProcessor(tokenizer, config.pipeline)
    if name == _OWN:
        return own
    package = _PACKAGES.get(name)
    if package is None:
        known = ", ".join((_OWN, *_PACKAGES))
        raise ValueError(f"chat_processor must be one of {known}, not {name!r}.")
    if importlib.util.find_spec(name) is None:
        raise ValueError(f"chat_processor {name} needs the package {name}, which is not installed.")
    return PackageProcessor(package(), config, own, tokenizer)


class PackageProcessor:
    """Chats by an engine's package; completions, without template and calls, by our own tokenizer."""

    def __init__(
        self, package: _Package, config: FrontendConfig, own: OwnProcessor, tokenizer: Tokenizer
    ) -> None:
        assert isinstance(tokenizer, DecoderSource), "OwnProcessor has checked it"
        self.name = package.name
        self._package = package
        self._own = own
        self._decoders: DecoderSource = tokenizer
        self._pipeline = config.pipeline
        models = config.picker.tokenize.models
        self._paths = {name: model.path for model in models for name in (model.name, *model.aliases)}
        self._only = models[0].path if len(models) == 1 else None
        self._tokenizers: dict[str, Any] = {}
        self._lock = asyncio.Lock()

    async def prepare(self, asked: Asked) -> Prepared:
        """See ChatProcessor."""
        if asked.api is not Api.CHAT:
            return await self._own.prepare(asked)
        decoder = await find_decoder(self._decoders, asked.model)
        tokenizer = await self._tokenizer(asked.model)
        body = msgspec.json.decode(asked.body.encode(), type=dict[str, Any])
        prompt = await asyncio.to_thread(_render, tokenizer, body)
        tools = (
            _name(tool_parser_name(self._pipeline.tool_call_parser, decoder)) if asked.plan.tools else None
        )
        reasoning = _name(reasoning_parser_name(self._pipeline.reasoning_parser, decoder))

        parsed = _Parsed(tokenizer, tools, reasoning, body, prompt)
        keep = frozenset(decoder.special) - decoder.end_tokens if tools or reasoning else frozenset[int]()
        return Prepared(prompt, decoder, lambda: self._package.parser(parsed), keep)

    async def _tokenizer(self, model: str) -> Any:
        path = self._paths.get(model, self._only)
        if path is None:
            raise ApiError(503, f"No tokenizer is configured for `{model}`.")
        async with self._lock:  # so that one request loads it and the others wait
            if path not in self._tokenizers:
                self._tokenizers[path] = await asyncio.to_thread(
                    self._package.tokenizer, path, trust_remote_code=self._pipeline.trust_remote_code
                )
        return self._tokenizers[path]


def _name(parser: str) -> str | None:
    return None if parser == "none" else parser


def _render(tokenizer: Any, body: Mapping[str, Any]) -> list[int]:
    """Token ids of a conversation by the tokenizer's own template. Raises ApiError (400)."""
    fields: dict[str, Any] = {"add_generation_prompt": True}
    fields |= {name: body[name] for name in _TEMPLATE_FIELDS if body.get(name) is not None}
    fields |= body.get("chat_template_kwargs") or {}
    try:
        text = tokenizer.apply_chat_template(
            body["messages"], tools=body.get("tools"), tokenize=False, **fields
        )
        return list(tokenizer.encode(text, add_special_tokens=False))
    except Exception as error:  # a template is a program of its own: whatever it raises is about the messages
        raise bad_request(f"The chat template refused the messages: {error}") from error


# --- vLLM ----------------------------------------------------------------------------------------------


class _Vllm:
    name = "vllm"

    def tokenizer(self, path: str, *, trust_remote_code: bool) -> Any:
        registry: Any = importlib.import_module("vllm.tokenizers")
        return registry.get_tokenizer(path, trust_remote_code=trust_remote_code)

    def parser(self, asked: _Parsed) -> AnswerParser:
        manager: Any = importlib.import_module("vllm.parser.parser_manager").ParserManager
        protocol: Any = importlib.import_module("vllm.entrypoints.openai.chat_completion.protocol")
        request = protocol.ChatCompletionRequest.model_validate(asked.body)
        found: Any = manager.get_parser(
            tool_parser_name=_VLLM_TOOLS.get(asked.tools or "", asked.tools),
            reasoning_parser_name=_VLLM_REASONING.get(asked.reasoning or "", asked.reasoning),
            enable_auto_tools=asked.tools is not None,
        )
        parser = None if found is None else found(asked.tokenizer, request.tools)
        return _VllmParser(parser, request, list(asked.prompt))


_VLLM_TOOLS: Final = {"gpt_oss": "openai"}
_VLLM_REASONING: Final = {"gpt_oss": "openai_gptoss"}


class _VllmParser:
    """vLLM's parser reads text and ids; without one everything is text."""

    def __init__(self, parser: Any, request: Any, prompt: list[int]) -> None:
        self._parser = parser
        self._request = request
        self._prompt: list[int] | None = prompt
        """Told with the first piece: it may have begun or ended the reasoning."""
        self.reasoning = False

    def feed(self, text: str, tokens: Sequence[int]) -> list[Piece]:
        return self._read(text, tokens, finished=False)

    def finish(self) -> list[Piece]:
        return self._read("", (), finished=True)

    def _read(self, text: str, tokens: Sequence[int], *, finished: bool) -> list[Piece]:
        if self._parser is None:
            return [Content(text)] if text else []
        prompt, self._prompt = self._prompt, None
        delta: Any = self._parser.parse_delta(
            text, list(tokens), self._request, prompt_token_ids=prompt, finished=finished
        )
        if delta is None:
            return []
        self.reasoning = bool(delta.reasoning)
        pieces: list[Piece] = [Reasoning(delta.reasoning)] if delta.reasoning else []
        pieces += [Content(delta.content)] if delta.content else []
        for call in delta.tool_calls or ():
            pieces += _call_pieces(call.function.name, call.function.arguments) if call.function else []
        return pieces


# --- SGLang --------------------------------------------------------------------------------------------


class _Sglang:
    name = "sglang"

    def tokenizer(self, path: str, *, trust_remote_code: bool) -> Any:
        utils: Any = importlib.import_module("sglang.srt.utils.hf_transformers_utils")
        return utils.get_tokenizer(path, trust_remote_code=trust_remote_code)

    def parser(self, asked: _Parsed) -> AnswerParser:
        calls: Any = None
        thoughts: Any = None
        if asked.tools is not None:
            protocol: Any = importlib.import_module("sglang.srt.entrypoints.openai.protocol")
            functions: Any = importlib.import_module("sglang.srt.function_call.function_call_parser")
            given = [protocol.Tool.model_validate(tool) for tool in asked.body.get("tools") or ()]
            calls = functions.FunctionCallParser(given, _SGLANG_TOOLS.get(asked.tools, asked.tools))
        if asked.reasoning is not None:
            parsers: Any = importlib.import_module("sglang.srt.parser.reasoning_parser")
            name = _SGLANG_REASONING.get(asked.reasoning, asked.reasoning)
            thoughts = parsers.ReasoningParser(model_type=name, stream_reasoning=True)
        return _SglangParser(thoughts, calls)


_SGLANG_TOOLS: Final = {
    "hermes": "qwen25",
    "llama3_json": "llama3",
    "deepseek_v3": "deepseekv3",
    "deepseek_v31": "deepseekv31",
    "deepseek_v32": "deepseekv32",
    "minimax_m2": "minimax-m2",
    "gpt_oss": "gpt-oss",
}
_SGLANG_REASONING: Final = {"deepseek_r1": "deepseek-r1", "gpt_oss": "gpt-oss"}


class _SglangParser:
    """SGLang's two parsers, one behind the other."""

    def __init__(self, thoughts: Any, calls: Any) -> None:
        self._thoughts = thoughts
        self._calls = calls
        self.reasoning = False

    def feed(self, text: str, tokens: Sequence[int]) -> list[Piece]:
        del tokens
        pieces: list[Piece] = []
        if self._thoughts is not None:
            thought, text = self._thoughts.parse_stream_chunk(text)
            self.reasoning = bool(thought)
            pieces += [Reasoning(thought)] if thought else []
        if self._calls is None or not text:
            return [*pieces, Content(text)] if text else pieces
        normal, calls = self._calls.parse_stream_chunk(text)
        pieces += [Content(normal)] if normal else []
        for call in calls:
            pieces += _call_pieces(call.name, call.parameters)
        return pieces

    def finish(self) -> list[Piece]:
        return []


def _call_pieces(name: str | None, arguments: str | None) -> list[Piece]:
    start: list[Piece] = [CallStart(name)] if name else []
    return [*start, CallArguments(arguments)] if arguments else start


_PACKAGES: Final[Mapping[str, Callable[[], _Package]]] = {"vllm": _Vllm, "sglang": _Sglang}
