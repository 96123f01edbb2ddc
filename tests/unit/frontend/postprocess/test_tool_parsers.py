"""Calls in models' text: every golden answer, in any cutting."""

import json
from collections.abc import Iterable
from pathlib import Path
from random import Random
from typing import Any

import pytest

from epp.tokenize.decoding import make_decoder
from frontend.postprocess.parsers import ParsedAnswer, tool_parser, tool_parser_name
from frontend.postprocess.pieces import CallArguments, CallStart, Content, Piece, merged
from frontend.postprocess.toolplan import Choice, ToolPlan
from frontend.postprocess.tools.base import ToolParser

GOLDEN = Path(__file__).parents[3] / "golden" / "toolcalls"
TOOLS = {
    "f": {"properties": {"a": {"type": "integer"}, "s": {"type": "string"}}},
    "get_weather": {"properties": {"city": {"type": "string"}}},
}
CASES = [
    pytest.param(path.stem, case, id=f"{path.stem}-{number}")
    for path in sorted(GOLDEN.glob("*.json"))
    for number, case in enumerate(json.loads(path.read_text("utf-8")))
]


def plan(choice: Choice = Choice.AUTO, **more: Any) -> ToolPlan:
    return ToolPlan(choice, TOOLS, **more)


def parser(name: str) -> ToolParser:
    return tool_parser(name, plan(Choice.REQUIRED if name == "required" else Choice.AUTO))


def read(made: ToolParser, pieces: Iterable[str]) -> list[Piece]:
    out = [piece for text in pieces for piece in made.feed(text)]
    return merged(out + made.finish())


def meant(pieces: list[Piece]) -> list[Any]:
    out: list[Any] = []
    for piece in pieces:
        if isinstance(piece, CallStart):
            out.append({"name": piece.name, "arguments": ""})
        elif isinstance(piece, CallArguments):
            out[-1]["arguments"] += piece.text
        else:
            out.append(piece.text)
    return out


@pytest.mark.parametrize(("name", "case"), CASES)
def test_an_answer_means_what_it_should_however_it_is_cut(name: str, case: dict[str, Any]) -> None:
    text = case["text"]
    assert meant(read(parser(name), [text])) == case["answer"]
    assert meant(read(parser(name), text)) == case["answer"]
    draw = Random(text)
    for _ in range(5):
        cuts = sorted(draw.randrange(len(text) + 1) for _ in range(4))
        parts = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
        assert meant(read(parser(name), parts)) == case["answer"]


def test_the_name_comes_before_the_arguments_are_complete() -> None:
    made = parser("hermes")
    early = made.feed('<tool_call>{"name": "f", "arguments": {"s": "a lo')
    assert merged(early) == [CallStart("f"), CallArguments('{"s": "a lo')]


def test_text_is_not_held_beyond_what_may_be_a_mark() -> None:
    made = parser("hermes")
    assert made.feed("some text <tool") == [Content("some text")]
    assert merged(made.feed("box> more")) == [Content(" <toolbox> more")]


def test_kimis_ids_are_kept() -> None:
    text = "<|tool_call_begin|>functions.f:3<|tool_call_argument_begin|>{}<|tool_call_end|>"
    assert CallStart("f", "functions.f:3") in read(parser("kimi_k2"), [text])


def test_a_named_choice_takes_the_whole_text_as_arguments() -> None:
    made = tool_parser("hermes", plan(Choice.NAMED, name="f"))
    assert meant(read(made, ['{"a"', ": 1}"])) == [{"name": "f", "arguments": '{"a": 1}'}]


def test_without_parallel_calls_only_the_first_one_passes() -> None:
    answer = ParsedAnswer(None, parser("hermes"), parallel=False)
    call = '<tool_call>{"name": "f", "arguments": {}}</tool_call>'
    found = merged([*answer.feed(call + call + "x", ()), *answer.finish()])
    assert meant(found) == [{"name": "f", "arguments": "{}"}, "x"]


@pytest.mark.parametrize(
    ("template", "name"),
    [
        ("… '[TOOL_CALLS] [' …", "mistral"),
        ("{{ '<tool_call>\n' }}", "hermes"),
        ("<tool_call>\n<function=", "qwen3_coder"),
        ("<\uff5ctool▁calls▁begin\uff5c>", "deepseek_v3"),
        ("<|python_tag|>", "llama3_json"),
        ("<|start|>assistant<|channel|>", "gpt_oss"),
        ("<|tool_calls_section_begin|>", "kimi_k2"),
        ("<minimax:tool_call>", "minimax_m2"),
        ("<tool_call>{{ name }}<arg_key>", "glm45"),
        ("<\uff5cDSML\uff5cinvoke", "deepseek_v32"),
        ("{{ messages }}", "none"),
    ],
)
def test_auto_goes_by_what_the_template_writes(template: str, name: str) -> None:
    empty = {"model": {"vocab": {}}, "added_tokens": [], "decoder": {"type": "ByteLevel"}}
    decoder = make_decoder(empty, {}, template)
    assert tool_parser_name("auto", decoder) == name
    assert tool_parser_name("pythonic", decoder) == "pythonic"
