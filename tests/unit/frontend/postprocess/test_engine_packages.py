"""Engines' packages behind our interface, played by stand-ins with the packages' own call forms."""

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from epp.config.model import Config, ModelConfig, TokenizeConfig
from epp.core.requests import Api
from frontend.body import Body
from frontend.config.model import FrontendConfig, PipelineConfig
from frontend.errors import ApiError
from frontend.nvext import NvExtRequest
from frontend.postprocess.engine_packages import PackageProcessor, _Parsed, _Sglang, _Vllm
from frontend.postprocess.pieces import CallArguments, CallStart, Content, Reasoning
from frontend.postprocess.processor import Asked, OwnProcessor
from frontend.postprocess.toolplan import ToolPlan, read_plan
from tests.unit.frontend.postprocess.test_segment import TOOLS, Letters, ids

BODY = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "tools": TOOLS}


class Template:
    """A tokenizer as transformers makes them."""

    def __init__(self) -> None:
        self.seen: dict[str, Any] = {}

    def apply_chat_template(self, messages: list[Any], **more: Any) -> str:
        self.seen = more
        if not messages:
            raise RuntimeError("nothing to say")
        return f"<{messages[0]['content']}>"

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]:
        assert not add_special_tokens
        return ids(text)


class Package:
    name = "vllm"

    def __init__(self) -> None:
        self.loads: list[str] = []
        self.made: _Parsed | None = None
        self.template = Template()

    def tokenizer(self, path: str, *, trust_remote_code: bool) -> Template:
        self.loads.append(path)
        return self.template

    def parser(self, asked: _Parsed) -> Any:
        self.made = asked
        return None


def processor(package: Package) -> PackageProcessor:
    picker = Config(tokenize=TokenizeConfig(models=(ModelConfig("m", "/models/m"),)))
    config = FrontendConfig(picker=picker)
    tokenizer = Letters()
    return PackageProcessor(package, config, OwnProcessor(tokenizer, PipelineConfig()), tokenizer)


def asked(body: dict[str, Any], api: Api = Api.CHAT) -> Asked:
    given = Body.of(body)
    return Asked(api, "m", given, NvExtRequest(), read_plan(given) if api is Api.CHAT else ToolPlan())


async def test_the_packages_tokenizer_renders_and_is_loaded_once() -> None:
    package = Package()
    made = processor(package)
    body = {**BODY, "chat_template_kwargs": {"enable_thinking": False}}
    prepared = await made.prepare(asked(body))
    await made.prepare(asked(body))
    assert prepared.prompt == ids("<hi>")
    assert package.loads == ["/models/m"]
    assert package.template.seen["tools"] == TOOLS
    assert package.template.seen["enable_thinking"] is False
    prepared.parser()
    assert package.made is not None
    assert (package.made.tools, package.made.reasoning) == ("hermes", "qwen3")


async def test_what_the_template_refuses_is_the_clients() -> None:
    with pytest.raises(ApiError, match="nothing to say") as error:
        await processor(Package()).prepare(asked({**BODY, "messages": []}))
    assert error.value.status == 400


async def test_completions_need_no_package() -> None:
    package = Package()
    prepared = await processor(package).prepare(asked({"model": "m", "prompt": "x"}, Api.COMPLETIONS))
    assert list(prepared.prompt) == [104, 104, 104]
    assert not package.loads


def module(monkeypatch: pytest.MonkeyPatch, name: str, **attributes: Any) -> None:
    made = ModuleType(name)
    for key, value in attributes.items():
        setattr(made, key, value)
    monkeypatch.setitem(sys.modules, name, made)


def test_sglangs_parsers_stand_one_behind_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    class Thoughts:
        def __init__(self, model_type: str, *, stream_reasoning: bool) -> None:
            assert (model_type, stream_reasoning) == ("deepseek-r1", True)

        def parse_stream_chunk(self, text: str) -> tuple[str, str]:
            return ("hm", "") if text == "1" else ("", text)

    class Calls:
        def __init__(self, tools: list[Any], name: str) -> None:
            assert (len(tools), name) == (1, "qwen25")

        def parse_stream_chunk(self, text: str) -> tuple[str, list[Any]]:
            call = SimpleNamespace(tool_index=0, name="f", parameters="{}")
            return ("", [call]) if text == "2" else (text, [])

    tool = SimpleNamespace(model_validate=lambda value: value)
    for name in ("sglang", "sglang.srt", "sglang.srt.entrypoints", "sglang.srt.entrypoints.openai"):
        module(monkeypatch, name)
    module(monkeypatch, "sglang.srt.entrypoints.openai.protocol", Tool=tool)
    module(monkeypatch, "sglang.srt.function_call")
    module(monkeypatch, "sglang.srt.function_call.function_call_parser", FunctionCallParser=Calls)
    module(monkeypatch, "sglang.srt.parser")
    module(monkeypatch, "sglang.srt.parser.reasoning_parser", ReasoningParser=Thoughts)
    parser = _Sglang().parser(_Parsed(None, "hermes", "deepseek_r1", BODY, []))
    assert parser.feed("1", ()) == [Reasoning("hm")]
    assert parser.feed("2", ()) == [CallStart("f"), CallArguments("{}")]
    assert parser.feed("x", ()) == [Content("x")]
    assert parser.finish() == []


def test_vllms_parser_is_told_the_prompt_once_and_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    fed: list[tuple[str, list[int], Any, bool]] = []

    class Parser:
        def __init__(self, tokenizer: Any, tools: Any) -> None:
            assert (tokenizer, tools) == ("tok", TOOLS)

        def parse_delta(
            self, text: str, tokens: list[int], request: Any, *, prompt_token_ids: Any, finished: bool
        ) -> Any:
            fed.append((text, tokens, prompt_token_ids, finished))
            function = SimpleNamespace(name="f", arguments=None)
            calls = [SimpleNamespace(function=function)] if finished else []
            return SimpleNamespace(reasoning=None, content=text, tool_calls=calls)

    request = SimpleNamespace(model_validate=lambda body: SimpleNamespace(tools=body["tools"]))
    manager = SimpleNamespace(get_parser=lambda **names: Parser if names["tool_parser_name"] else None)
    for name in ("vllm", "vllm.parser", "vllm.entrypoints", "vllm.entrypoints.openai"):
        module(monkeypatch, name)
    module(monkeypatch, "vllm.entrypoints.openai.chat_completion")
    module(monkeypatch, "vllm.entrypoints.openai.chat_completion.protocol", ChatCompletionRequest=request)
    module(monkeypatch, "vllm.parser.parser_manager", ParserManager=manager)
    parser = _Vllm().parser(_Parsed("tok", "hermes", None, BODY, [1, 2]))
    assert parser.feed("a", (5,)) == [Content("a")]
    assert parser.finish() == [CallStart("f")]
    assert fed == [("a", [5], [1, 2], False), ("", [], None, True)]
    plain = _Vllm().parser(_Parsed("tok", None, None, BODY, []))
    assert plain.feed("a", (5,)) == [Content("a")]
    assert plain.finish() == []
