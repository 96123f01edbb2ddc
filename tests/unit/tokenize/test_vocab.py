"""The vocabularies for tests and demos encode like the files they come from, and are always the same."""

import json
from array import array
from collections.abc import Callable
from pathlib import Path

import dashscope
import pytest
from fastokens import Tokenizer
from hypothesis import given, settings
from mistral_common.tokens.tokenizers.tekken import Tekkenizer

from epp.testing import vocab
from epp.testing.vocab import Kind, build_model_dir, cached_model_dir
from epp.tokenize.model import LoadedModel
from tests.unit.tokenize.test_cuts import TEXTS


def test_qwen_encodes_like_the_tiktoken_file(loaded: Callable[[Kind], LoadedModel]) -> None:
    path = Path(dashscope.__file__).parent / "resources" / "qwen.tiktoken"
    special = {"<|endoftext|>": 151643, "<|im_start|>": 151644, "<|im_end|>": 151645}
    reference = Tokenizer.from_tiktoken(str(path), pattern=vocab._QWEN_PATTERN, special_tokens=special)
    backend = loaded("qwen").backend

    @settings(max_examples=150, deadline=None)
    @given(TEXTS.filter(str.isascii))  # the file knows no normalization, the model has NFC
    def check(text: str) -> None:
        assert backend.encode([text])[0] == reference.encode_batch_flat([text])[0]

    check()


def test_tekken_encodes_like_mistral_common(loaded: Callable[[Kind], LoadedModel]) -> None:
    path = Path(vocab.files("mistral_common").joinpath("data", "tekken_240911.json"))  # type: ignore[arg-type]
    reference, backend = Tekkenizer.from_file(path), loaded("tekken").backend

    @settings(max_examples=150, deadline=None)
    @given(
        TEXTS.filter(lambda text: "<" not in text)
    )  # special tokens in text are ours to find, not Tekken's
    def check(text: str) -> None:
        assert list(array("I", backend.encode([text])[0])) == reference.encode(text, bos=False, eos=False)

    check()


def test_tiny_is_small_and_complete(
    loaded: Callable[[Kind], LoadedModel], model_dir: Callable[..., Path]
) -> None:
    tokenizer = json.loads((model_dir("tiny") / "tokenizer.json").read_text(encoding="utf-8"))
    assert len(tokenizer["model"]["vocab"]) == 2048
    assert max(array("I", loaded("tiny").backend.encode(["any text, 中文 🎉"])[0])) < 2048


def test_the_same_bytes_every_time(tmp_path: Path) -> None:
    first, second = (build_model_dir(tmp_path / name, "tiny") for name in "ab")
    names = sorted(file.name for file in first.iterdir())
    assert names == ["chat_template.jinja", "tokenizer.json", "tokenizer_config.json"]
    for name in names:
        assert (first / name).read_bytes() == (second / name).read_bytes()


def test_a_cached_folder_is_built_once_and_per_template(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = cached_model_dir(tmp_path, "tiny", template="gemma")
    assert "start_of_turn" in (folder / "chat_template.jinja").read_text(encoding="utf-8")
    monkeypatch.setattr(vocab, "_SOURCES", {})
    assert cached_model_dir(tmp_path, "tiny", template="gemma") == folder


def test_two_builders_of_one_folder_do_not_meet(tmp_path: Path) -> None:
    folder = build_model_dir(tmp_path / "m", "tiny")
    draft = tmp_path / "draft"
    draft.mkdir()
    assert vocab._publish(draft, folder) == folder
    assert not draft.exists()


def test_byte_letters_are_those_of_byte_level_bpe() -> None:
    from tokenizers.pre_tokenizers import ByteLevel

    assert {chr(letter) for _, letter in vocab._byte_letters()} == set(ByteLevel.alphabet())
