"""Reasoning by its marks, and stop strings across pieces."""

from collections.abc import Iterable

import pytest

from epp.tokenize.decoding import make_decoder
from frontend.postprocess.parsers import ParsedAnswer, reasoning_parser, reasoning_parser_name
from frontend.postprocess.pieces import Content, Piece, Reasoning, merged
from frontend.postprocess.reasoning import THINK, ReasoningParser
from frontend.postprocess.stops import StopScanner
from frontend.postprocess.tools.base import TextOnly

LETTERS = {chr(code): code for code in range(0x21, 0x7F)}
DECODER = make_decoder(
    {"model": {"vocab": LETTERS}, "added_tokens": [], "decoder": {"type": "ByteLevel"}},
    templates="{{ '<think>' }}",
)


def read(parser: ReasoningParser, pieces: Iterable[str]) -> list[Piece]:
    answer = ParsedAnswer(parser, TextOnly())
    out = [piece for text in pieces for piece in answer.feed(text, ())]
    return merged(out + answer.finish())


@pytest.mark.parametrize(
    ("inside", "text", "expected"),
    [
        (False, "<think>why</think>so", [Reasoning("why"), Content("so")]),
        (False, "\n<think>why", [Reasoning("why")]),
        (False, "no <think>x</think>", [Content("no <think>x</think>")]),
        (True, "why</think>so", [Reasoning("why"), Content("so")]),
        (True, "<think>why</think>so", [Reasoning("why"), Content("so")]),
        (True, "never ends </thin", [Reasoning("never ends </thin")]),
        (True, "</think>so </think>", [Content("so </think>")]),
    ],
)
def test_reasoning_stands_between_its_marks(inside: bool, text: str, expected: list[Piece]) -> None:
    assert read(ReasoningParser(THINK, inside=inside), [text]) == expected
    assert read(ReasoningParser(THINK, inside=inside), text) == expected


@pytest.mark.parametrize(
    ("name", "prompt", "inside"),
    [
        ("qwen3", "hello<think>", True),
        ("qwen3", "hello", False),
        ("deepseek_r1", "hello", True),
        ("deepseek_r1", "hello<think></think>", False),
        ("deepseek_r1", "<think>old</think>andthen", True),
    ],
)
def test_the_prompts_end_tells_whether_reasoning_has_begun(name: str, prompt: str, inside: bool) -> None:
    parser = reasoning_parser(name, DECODER, [LETTERS[letter] for letter in prompt])
    assert parser is not None
    assert parser.inside is inside


def test_auto_reasoning_goes_by_the_template() -> None:
    assert reasoning_parser_name("auto", DECODER) == "qwen3"
    assert reasoning_parser_name("none", DECODER) == "none"
    assert reasoning_parser("none", DECODER, []) is None


def test_a_stop_string_across_pieces_is_never_shown() -> None:
    scanner = StopScanner(["END", "STOP"], include=False)
    assert [scanner.feed(piece) for piece in ("one E", "N", "Xtwo S", "TO", "Pthree")] == [
        "one ",
        "",
        "ENXtwo ",
        "",
        "",
    ]
    assert scanner.found == "STOP"
    assert scanner.finish() == ""


def test_a_stop_counts_only_once_it_is_armed() -> None:
    scanner = StopScanner(["x"], include=True)
    assert scanner.feed("axb", armed=False) == "axb"
    assert scanner.feed("cxd") == "cx"
    assert scanner.found == "x"
