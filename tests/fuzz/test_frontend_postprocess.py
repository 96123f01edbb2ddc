"""Invariants: parsers of answers never raise, give the same answer however the text is cut, and keep what is
no call; token decoding in steps equals decoding at once; any bytes are an event or a WireError."""

import contextlib
from functools import cache
from typing import Any

import orjson
import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st

from epp.core.endpoints import EngineKind
from epp.tokenize.decoding import TokenDecoder, make_decoder
from frontend.postprocess.parsers import TOOL_PARSERS, ParsedAnswer, tool_parser
from frontend.postprocess.pieces import CallStart, Piece, Reasoning, merged
from frontend.postprocess.reasoning import THINK, ReasoningParser
from frontend.postprocess.stops import StopScanner
from frontend.postprocess.tokens_wire import WireError, read_stream_event, splice_event
from frontend.postprocess.toolplan import Choice, ToolPlan

_MARKS = (
    *("<tool_call>", "</tool_call>", "<|python_tag|>", "[TOOL_CALLS]", "[ARGS]", "[CALL_ID]"),
    *("<function=", "</function>", "<parameter=", "</parameter>", ">", "<think>", "</think>"),
    *(f"<\uff5ctool▁{mark}\uff5c>" for mark in ("calls▁begin", "calls▁end", "call▁begin", "call▁end", "sep")),
    *("<|tool_calls_section_begin|>", "<|tool_call_begin|>", "<|tool_call_argument_begin|>"),
    *("<|tool_call_end|>", "functions.f:0", "<arg_key>", "</arg_key>", "<arg_value>", "</arg_value>"),
    *(
        "<minimax:tool_call>",
        "</minimax:tool_call>",
        '<invoke name="',
        '">',
        '<parameter name="',
        "</invoke>",
    ),
    *("<|start|>", "<|channel|>", "<|message|>", "<|end|>", "<|call|>", "<|constrain|>"),
    *("assistant", "analysis", "final", "commentary", " to=functions.f"),
    *(f"{mark}\uff5cDSML\uff5c" for mark in ("<", "</")),
    *("tool_calls>", 'invoke name="f">', 'parameter name="a" string="true">', "invoke>", "parameter>"),
    *('{"name": "f", "arguments": {"a": 1}}', '{"name"', ': "f"', '"arguments"', '"parameters"', "{", "}"),
    *("[", "]", ",", ";", ":", '"', "\\", "'", "(", ")", "f(a=1)", "f", "function", "```json\n", "```"),
    *(" ", "\n", "1", "null", "é", "x"),
)
_TEXTS = st.lists(st.one_of(st.sampled_from(_MARKS), st.text(max_size=3)), max_size=25)
_PLAN = ToolPlan(Choice.AUTO, {"f": {"properties": {"a": {"type": "integer"}}}})
_MARKED = ("deepseek_v3", "deepseek_v31", "kimi_k2", "gpt_oss")
"""Their marks are the format's, calls or none."""
_NAMES = [name for name in TOOL_PARSERS if name != "auto"] + ["required"]


def _answer(name: str) -> ParsedAnswer:
    choice = Choice.REQUIRED if name == "required" else Choice.AUTO
    plan = ToolPlan(choice, _PLAN.tools)
    return ParsedAnswer(ReasoningParser(THINK, inside=False), tool_parser(name, plan))


def _read(answer: ParsedAnswer, parts: list[str]) -> list[Piece]:
    out = [piece for part in parts for piece in answer.feed(part, ())]
    return merged(out + answer.finish())


@pytest.mark.parametrize("name", _NAMES)
@given(parts=_TEXTS)
def test_an_answer_is_the_same_however_it_is_cut(name: str, parts: list[str]) -> None:
    text = "".join(parts)
    whole = _read(_answer(name), [text])
    assert _read(_answer(name), parts) == whole
    assert _read(_answer(name), list(text)) == whole


@pytest.mark.parametrize("name", [name for name in _NAMES if name not in _MARKED])
@given(parts=_TEXTS)
def test_an_answer_without_calls_is_its_text(name: str, parts: list[str]) -> None:
    text = "".join(parts)
    pieces = _read(_answer(name), [text])
    if any(isinstance(piece, (CallStart, Reasoning)) for piece in pieces) or "<think>" in text:
        return
    if name in ("required", "mistral"):  # their brackets are theirs, calls or none
        return
    assert "".join(piece.text for piece in pieces) == text


@given(parts=_TEXTS, stops=st.lists(st.sampled_from(_MARKS), max_size=3), include=st.booleans())
def test_stop_strings_are_found_in_any_cutting(parts: list[str], stops: list[str], include: bool) -> None:
    def read(pieces: list[str]) -> tuple[str, str | None]:
        scanner = StopScanner(stops, include=include)
        shown = "".join(scanner.feed(piece) for piece in pieces)
        return shown + scanner.finish(), scanner.found

    text = "".join(parts)
    whole = read([text])
    assert read(parts) == whole == read(list(text))
    if whole[1] is None:
        assert whole[0] == text
        assert not any(stop in text for stop in stops)


# --- decoding ------------------------------------------------------------------------------------------

_SPECIAL = ("<unk>", "<s>", "</s>")
_PIECES = ("▁", "▁the", "a", "▁▁", "é", ",", "日", "▁x")


def _spec(vocab: dict[str, int], decoder: dict[str, Any], *, fallback: bool) -> dict[str, Any]:
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False) | {"special": True}
    added = [{"id": vocab[text], "content": text, **flags} for text in _SPECIAL]
    model = {"type": "BPE", "vocab": vocab, "merges": [], "unk_token": "<unk>", "byte_fallback": fallback}
    return {"version": "1.0", "added_tokens": added, "decoder": decoder, "model": model}


def _sentencepiece(*steps: dict[str, Any]) -> dict[str, Any]:
    names = [*_SPECIAL, *(f"<0x{byte:02X}>" for byte in range(256)), *_PIECES]
    start = [{"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"}]
    decoder = {"type": "Sequence", "decoders": [*start, {"type": "Fuse"}, *steps]}
    return _spec({name: number for number, name in enumerate(names)}, decoder, fallback=True)


def _byte_level() -> dict[str, Any]:
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    letters = [chr(b) for b in sorted(printable)] + [chr(0x100 + n) for n in range(256 - len(printable))]
    names = [*_SPECIAL, *letters, "Ã©", "ab"]
    decoder = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False}
    return _spec({name: number for number, name in enumerate(names)}, decoder, fallback=False)


_METASPACE = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}
_KINDS = ("byte-level", "sentencepiece", "sentencepiece-strip", "other")


@cache
def _decoders(kind: str) -> tuple[TokenDecoder, tokenizers.Tokenizer]:
    spec = {
        "byte-level": _byte_level,
        "sentencepiece": _sentencepiece,
        "sentencepiece-strip": lambda: _sentencepiece(
            {"type": "Strip", "content": " ", "start": 1, "stop": 0}
        ),
        "other": lambda: _sentencepiece() | {"decoder": _METASPACE},
    }[kind]()
    return make_decoder(spec), tokenizers.Tokenizer.from_str(orjson.dumps(spec).decode())


@pytest.mark.parametrize("kind", _KINDS)
@given(ids=st.lists(st.integers(0, 266), max_size=30), skip=st.booleans())
def test_decoding_in_steps_equals_decoding_at_once(kind: str, ids: list[int], skip: bool) -> None:
    decoder, library = _decoders(kind)
    known = [token for token in ids if library.id_to_token(token) is not None]
    assert decoder.decode(known, skip_special=skip) == library.decode(known, skip_special_tokens=skip)


@given(text=st.text(max_size=20))
def test_no_step_splits_a_character(text: str) -> None:
    decoder, library = _decoders("byte-level")
    letters = {decoder.token_bytes(token): token for token in range(3, 259)}
    stream = decoder.stream()
    steps = [stream.push(letters[bytes([byte])]) for byte in text.encode()]
    assert "".join(steps) == text
    assert not any("\ufffd" in step for step in steps if "\ufffd" not in text)
    assert stream.finish() == ""
    del library


# --- engines' events -----------------------------------------------------------------------------------

_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 2**40) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    *("choices", "index", "token_ids", "finish_reason", "logprobs", "content", "usage"),
                    *("output_ids", "meta_info", "completion_tokens", "type", "matched", "error", "message"),
                    *("output_token_logprobs", "output_top_logprobs", "token_id", "logprob", "prompt_tokens"),
                ]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)


@pytest.mark.parametrize("kind", [EngineKind.VLLM, EngineKind.SGLANG, EngineKind.TRTLLM])
@given(data=st.one_of(st.binary(max_size=40), _VALUES.map(orjson.dumps)), seen=st.integers(0, 5))
def test_any_bytes_are_an_event_or_a_wire_error(kind: EngineKind, data: bytes, seen: int) -> None:
    for read in (lambda: read_stream_event(kind, data, {0: seen}), lambda: splice_event(kind, data, 3)):
        with contextlib.suppress(WireError):
            read()
