"""gpt-oss's channels told apart, in any cutting."""

import pytest

from frontend.postprocess.parsers import ParsedAnswer, tool_parser
from frontend.postprocess.pieces import CallArguments, CallStart, Content, Piece, Reasoning, merged
from frontend.postprocess.toolplan import Choice, ToolPlan

ANALYSIS = "<|channel|>analysis<|message|>Let me see.<|end|>"
CALL = "<|channel|>commentary to=functions.f <|constrain|>json<|message|>"
FINAL = "<|channel|>final<|message|>"
NEXT = "<|start|>assistant"

ANSWERS: dict[str, tuple[str, list[Piece]]] = {
    "text": (FINAL + "Hi < there", [Content("Hi < there")]),
    "reasoning, then text": (
        f"{ANALYSIS}{NEXT}{FINAL}Hi<|return|>",
        [Reasoning("Let me see."), Content("Hi")],
    ),
    "a call": (
        f'{ANALYSIS}{NEXT}{CALL}{{"a": 1}}<|call|>',
        [Reasoning("Let me see."), CallStart("f"), CallArguments('{"a": 1}')],
    ),
    "addressed before the channel": (
        f"{NEXT} to=functions.f<|channel|>commentary json<|message|>{{}}",
        [CallStart("f"), CallArguments("{}")],
    ),
    "a preamble is for the reader": (
        "<|channel|>commentary<|message|>I look.<|end|>" + NEXT + CALL + "{}",
        [Content("I look."), CallStart("f"), CallArguments("{}")],
    ),
    "the model's own tools are reasoning": (
        "<|channel|>commentary to=python<|message|>1+1<|call|>",
        [Reasoning("1+1")],
    ),
    "held to a grammar": ('{"a": "<|x|>"}', [Content('{"a": "<|x|>"}')]),
    "cut short in a head": (ANALYSIS + NEXT + "<|channel|>fi", [Reasoning("Let me see.")]),
    "an endless head": ("<|channel|>" + "x" * 600, [Content("<|channel|>" + "x" * 600)]),
    "nothing": ("", []),
}


def read(parts: list[str], choice: Choice = Choice.AUTO) -> list[Piece]:
    answer = ParsedAnswer(None, tool_parser("gpt_oss", ToolPlan(choice)))
    out = [piece for part in parts for piece in answer.feed(part, ())]
    return merged(out + answer.finish())


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_means_what_it_should_however_it_is_cut(name: str) -> None:
    text, means = ANSWERS[name]
    assert read([text]) == means
    assert read(list(text)) == means
    assert read([text[:5], text[5:17], text[17:]], Choice.NONE) == means, "also where no tools are offered"


def test_reasoning_is_known_while_it_lasts() -> None:
    answer = ParsedAnswer(None, tool_parser("gpt_oss", ToolPlan()))
    assert not answer.reasoning
    answer.feed("<|channel|>analysis<|message|>Let", ())
    assert answer.reasoning
    answer.feed(" me<|end|>", ())
    assert not answer.reasoning
