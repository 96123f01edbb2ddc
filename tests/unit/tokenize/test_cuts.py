"""Cut places: which models have them, and that encoding the pieces is encoding the whole."""

import copy
import json
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from epp.testing.vocab import Kind
from epp.tokenize import cuts
from epp.tokenize.backends import FastokensBackend, TokenizersBackend
from epp.tokenize.cuts import NO_CUTS, CutRule, find_cut_rule
from epp.tokenize.files import read_model_folder
from epp.tokenize.model import LoadedModel
from tests.unit.tokenize.conftest import ModelDir

_CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_TAIL = r"\s*[\r\n]+|\s+(?!\S)|\s+"
PATTERNS: dict[str, Sequence[str]] = {
    "gpt2": [r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"],
    "qwen2": [_CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|" + _TAIL],
    "llama3": [_CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|" + _TAIL],
    "tekken": [
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
        r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
        r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|" + _TAIL
    ],
    "o200k": [
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+" + _CONTRACTIONS + "?"
        r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*" + _CONTRACTIONS + "?"
        r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|" + _TAIL
    ],
    "deepseek": [
        r"\p{N}{1,3}",
        "[一-龥\u3040-ゟ゠-ヿ]+",  # noqa: RUF001 -- the pattern as published
        r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"""
        r"| ?[\p{P}\p{S}]+[\r\n]*|" + _TAIL,
    ],
}


@cache
def _tiny_json(folder: Any) -> str:
    return json.dumps(read_model_folder(folder).tokenizer)


def _with(tokenizer: dict[str, Any], patterns: Sequence[str], **changes: Any) -> dict[str, Any]:
    made = copy.deepcopy(tokenizer)
    splits = [
        {"type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated", "invert": False}
        for regex in patterns
    ]
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False}
    made["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [*splits, byte_level]}
    return made | changes


@pytest.fixture(scope="module")
def tiny(model_dir: ModelDir) -> dict[str, Any]:
    return json.loads(_tiny_json(model_dir("tiny")))


def _rule(tokenizer: dict[str, Any], mentioned: str = "") -> CutRule:
    return find_cut_rule(tokenizer, TokenizersBackend(json.dumps(tokenizer)), mentioned)


# Characters that matter to the stages of encoding, those at cuts foremost.
_PIECES = st.sampled_from(
    [
        *"aZxs'\"!./ \n\r\t09_-é\u0301ß中文。\uff0cあカ한½٣\u00a0\u2028🎉",
        *("'s", "'LL", " the", "\r\n", "\n\n", "  ", "  \n", " \n", "a\nb", "a b", 'a"', "word ", "。\n中"),
        *("<|im_end|>", "<|im_start|>user\n", "<|im", "e\u0301", "\u1e69", "//\n/"),
    ]
)
TEXTS = st.lists(_PIECES, max_size=60).map("".join) | st.text(max_size=60)


@pytest.mark.parametrize("family", PATTERNS)
def test_pieces_of_random_text_encode_to_the_whole(tiny: dict[str, Any], family: str) -> None:
    tokenizer = _with(tiny, PATTERNS[family])
    backend = TokenizersBackend(json.dumps(tokenizer))
    rule = find_cut_rule(tokenizer, backend, "")
    assert rule.in_text

    @settings(max_examples=150, deadline=None)
    @given(TEXTS)
    def check(text: str) -> None:
        pieces = list(cuts._pieces(rule, text))
        assert "".join(pieces) == text
        assert backend.encode(pieces)[0] == backend.encode([text])[0]

    check()


@pytest.mark.parametrize("kind", ["qwen", "tekken"])
def test_pieces_encode_to_the_whole_with_real_vocabularies(
    loaded: Callable[[Kind], LoadedModel], kind: Kind
) -> None:
    model = loaded(kind)
    assert isinstance(model.backend, FastokensBackend)

    @settings(max_examples=300, deadline=None)
    @given(TEXTS)
    def check(text: str) -> None:
        pieces = list(cuts._pieces(model.cuts, text))
        assert model.backend.encode(pieces)[0] == model.backend.encode([text])[0]

    check()


def test_where_text_is_cut() -> None:
    rule = CutRule(cuts._IN_TEXT, in_text=True)
    assert list(cuts._pieces(rule, 'The fox,  jumped. "Oh"\nsaid he\n\nand left\r\nat 5 pm.\nNow')) == [
        "The",
        ' fox,  jumped. "Oh',
        '"\nsaid',
        " he\n\nand",
        " left\r\nat 5 pm.\n",
        "Now",
    ]


def test_byte_level_with_its_own_pattern_is_gpt2(tiny: dict[str, Any]) -> None:
    step = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    assert _rule({**tiny, "pre_tokenizer": step}).in_text
    assert not _rule({**tiny, "pre_tokenizer": {**step, "add_prefix_space": True}}).in_text


@pytest.mark.parametrize(
    "change",
    [
        {"normalizer": {"type": "NFKC"}},
        {"normalizer": {"type": "Sequence", "normalizers": [{"type": "NFC"}, {"type": "Lowercase"}]}},
        {"pre_tokenizer": None},
        {
            "pre_tokenizer": {
                "type": "Metaspace",
                "replacement": "▁",
                "prepend_scheme": "first",
                "split": False,
            }
        },
    ],
    ids=str,
)
def test_models_that_do_not_qualify(tiny: dict[str, Any], change: dict[str, Any]) -> None:
    assert not _rule(tiny | change).in_text


@pytest.mark.parametrize(
    "patterns",
    [
        [PATTERNS["qwen2"][0] + r"|\d+ of \d+"],  # an alternative we know nothing of
        [PATTERNS["qwen2"][0].removesuffix(r"|\s+")],  # white space may be left unmatched
        [r"\s+(?!\S)|\s+"],  # letters may be
        ["(?<=a) ", *PATTERNS["qwen2"]],  # looks behind
    ],
    ids=["unknown", "no space", "no letters", "look-behind"],
)
def test_patterns_that_do_not_qualify(tiny: dict[str, Any], patterns: list[str]) -> None:
    assert not cuts._splits_predictably(_with(tiny, patterns))


def test_dropout_and_other_models_do_not_qualify(tiny: dict[str, Any]) -> None:
    assert cuts._splits_predictably(tiny)
    assert not cuts._splits_predictably({**tiny, "model": {**tiny["model"], "dropout": 0.1}})
    assert not cuts._splits_predictably({**tiny, "model": {"type": "Unigram"}})


@pytest.mark.parametrize(
    ("token", "clear"),
    [
        ({"content": "<|sep|>"}, True),
        ({"content": "two words"}, False),
        ({"content": "line\nbreak"}, False),
        ({"content": "\n\n"}, True),
        ({"content": "   "}, True),
        ({"content": 'say"'}, False),
        ({"content": "Word", "rstrip": True}, False),
        ({"content": "Word", "lstrip": True}, False),
        ({"content": "<mask>", "lstrip": True}, True),
        ({"content": "<x>", "single_word": True}, False),
    ],
    ids=str,
)
def test_added_tokens_that_forbid_cuts_in_text(token: dict[str, Any], clear: bool) -> None:
    assert cuts._is_clear_of_cuts(token) is clear


def _added(*contents: str, **flags: Any) -> list[dict[str, Any]]:
    return [{"content": content, "normalized": False, **flags} for content in contents]


def test_cuts_before_added_tokens_avoid_overlaps() -> None:
    def pattern(added: list[dict[str, Any]]) -> str | None:
        found = cuts._before_tokens(added, "all of <s> <e> <ee> ab bc a")
        return found and found.pattern

    assert pattern(_added("<s>", "<e>")) == "<e>|<s>"
    assert pattern(_added("<s>", "<not mentioned>")) == "<s>"
    assert pattern(_added("ab", "bc")) == "ab"
    assert pattern([*_added("a"), *_added("ab", lstrip=True)]) is None
    assert pattern(_added("<s>", single_word=True)) is None
    assert pattern(_added("<not mentioned>")) is None


def test_other_models_are_cut_before_added_tokens(tiny: dict[str, Any]) -> None:
    tokenizer = {**tiny, "normalizer": {"type": "NFKC"}}
    backend = TokenizersBackend(json.dumps(tokenizer))
    rule = find_cut_rule(tokenizer, backend, "<|im_start|> <|im_end|>")
    assert not rule.in_text
    assert list(cuts._pieces(rule, "<|im_start|>a b<|im_end|>\n<|im_start|>c")) == [
        "<|im_start|>a b",
        "<|im_end|>\n",
        "<|im_start|>c",
    ]

    @settings(max_examples=100, deadline=None)
    @given(TEXTS)
    def check(text: str) -> None:
        assert backend.encode(list(cuts._pieces(rule, text)))[0] == backend.encode([text])[0]

    check()


def test_a_model_that_fails_the_trial_is_not_cut(tiny: dict[str, Any]) -> None:
    class Contextual(TokenizersBackend):
        """Encodes the last text of a call differently."""

        def encode(
            self, texts: Sequence[str], *, add_special_tokens: bool = False
        ) -> tuple[bytes, Sequence[int]]:
            ids, offsets = super().encode(texts, add_special_tokens=add_special_tokens)
            return (ids[:-4] + b"\1\2\3\4" if len(texts) > 1 else ids), offsets

    assert find_cut_rule(tiny, Contextual(json.dumps(tiny)), "") == NO_CUTS
    assert NO_CUTS.next_cut("a b c", 0) is None
    assert NO_CUTS.last_cut("a b c") == 0


def test_the_last_cut_is_found_near_the_end_and_far_from_it() -> None:
    rule = CutRule(cuts._IN_TEXT, in_text=True)
    assert rule.last_cut("one two") == 3
    assert rule.last_cut("one two" + "." * 5000) == 3
    assert rule.last_cut("...") == 0
