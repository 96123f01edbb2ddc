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
from frontend.postprocess.tools.base import BlockParser, Parts, ToolParser

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


def cuttings(text: str) -> list[list[str]]:
    draw = Random(text)
    out = [list(text)]
    for _ in range(5):
        cuts = sorted(draw.randrange(len(text) + 1) for _ in range(4))
        out.append([text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)])
    return out


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
    for parts in cuttings(text):
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


@pytest.mark.parametrize("value", ["NaN", "Infinity", " -Infinity", "[1, NaN]"])
def test_what_only_python_takes_for_json_is_quoted(value: str) -> None:
    text = f"<tool_call>f<arg_key>a</arg_key><arg_value>{value}</arg_value></tool_call>"
    assert meant(read(parser("glm45"), [text])) == [
        {"name": "f", "arguments": json.dumps({"a": value})},
    ]


DSML = "\uff5cDSML\uff5c"
VALUES = (
    ("qwen3_coder", "<tool_call><function=f><parameter=s>", "</parameter></function></tool_call>"),
    ("minimax_m2", '<minimax:tool_call><invoke name="f"><parameter name="s">', "</parameter></invoke>"),
    (
        "deepseek_v32",
        f'<{DSML}invoke name="f"><{DSML}parameter name="s">',
        f"</{DSML}parameter></{DSML}invoke>",
    ),
    ("glm45", "<tool_call>f<arg_key>s</arg_key><arg_value>", "</arg_value></tool_call>"),
)
HEADS = (
    ("qwen3_coder", "<tool_call>", "<function=f>"),
    ("qwen3_coder", "<function=f", "></function>"),
    ("qwen3_coder", "<function=f>", "<parameter=s>x</parameter></function>"),
    ("qwen3_coder", "<function=f><parameter=s", ">x</parameter></function>"),
    ("glm45", "<tool_call>f", "</tool_call>"),
    ("glm45", "<tool_call>f<arg_key>s", "</arg_key><arg_value>x</arg_value></tool_call>"),
    ("glm45", "<tool_call>f<arg_key>s</arg_key>", "<arg_value>x</arg_value></tool_call>"),
    ("gpt_oss", "<|channel|>final", "<|message|>x<|end|>"),
    ("hermes", "<tool_call>", '{"name": "f"}</tool_call>'),
    ("hermes", '<tool_call>{"name": "f"}', "</tool_call>"),
    ("llama3_json", "<|python_tag|>", '{"name": "f", "parameters": {}}'),
    ("llama3_json", '{"name": "f", "parameters": {}}', '{"name": "f", "parameters": {}}'),
    ("mistral", "[TOOL_CALLS]", '[{"name": "f"}]'),
    ("mistral", "[TOOL_CALLS][", '{"name": "f"}]'),
    ("mistral", "[TOOL_CALLS]f", "[ARGS]{}"),
    ("mistral", "[TOOL_CALLS]f[CALL_ID]", "[ARGS]{}"),
    ("mistral", "[TOOL_CALLS]f[ARGS]", "{}"),
    ("pythonic", "[", "f(a=1)]"),
    ("pythonic", "[f", "(a=1)]"),
    ("kimi_k2", "<|tool_call_begin|>functions.f:0", "<|tool_call_argument_begin|>{}<|tool_call_end|>"),
    ("kimi_k2", "<|tool_call_begin|>functions.f:0<|tool_call_argument_begin|>", "{}<|tool_call_end|>"),
    ("required", "[", '{"name": "f"}]'),
    ("required", "", '[{"name": "f"}]'),
)
LIMITS = (64, 256, 288, 512, 785)
"""About there what could have been a head of one format or another no longer is."""


@pytest.mark.parametrize(("name", "before", "after"), HEADS)
@pytest.mark.parametrize("filler", [" ", "x"])
def test_a_head_of_any_length_is_the_same_however_it_is_cut(
    name: str, before: str, after: str, filler: str
) -> None:
    for chars in (*(limit + more for limit in LIMITS for more in (-16, -1, 0, 1)), 5000):
        text = before + filler * chars + after
        whole = read(parser(name), [text])
        assert all(read(parser(name), parts) == whole for parts in cuttings(text)), chars


@pytest.mark.parametrize(("name", "before", "after"), [*VALUES, *HEADS])
@pytest.mark.parametrize("filler", ["x", " ", "a < b\n"])
def test_a_piece_costs_its_own_length_not_that_of_the_answer(
    name: str, before: str, after: str, filler: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a parser goes through again with each piece is its buffer, what it copies at once is ``Parts``."""
    copied = 0
    take = Parts.taken

    def counted(parts: Parts) -> str:
        nonlocal copied
        text = take(parts)
        copied += len(text)
        return text

    monkeypatch.setattr(Parts, "taken", counted)
    made = parser(name)
    assert isinstance(made, BlockParser)
    text = before + filler * (20_000 // len(filler)) + after
    held = 0
    for char in text:
        made.feed(char)
        held = max(held, len(made._buffer))
    made.finish()
    assert held <= 1024
    assert copied <= 2 * len(text)
