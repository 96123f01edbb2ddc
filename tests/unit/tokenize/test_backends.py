"""Two encoders give the same ids, and a model on which they would not is encoded by the slower one."""

import json
from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

from epp.testing.vocab import Kind
from epp.tokenize import backends
from epp.tokenize.backends import FastokensBackend, TokenizersBackend, open_backend
from epp.tokenize.errors import LoadError
from epp.tokenize.files import read_model_folder
from tests.unit.tokenize.conftest import ModelDir
from tests.unit.tokenize.test_cuts import TEXTS


@pytest.mark.parametrize("kind", ["tiny", "qwen"])
def test_same_ids_and_offsets(model_dir: ModelDir, kind: Kind) -> None:
    text = json.dumps(read_model_folder(model_dir(kind)).tokenizer)
    fast, slow = FastokensBackend(text), TokenizersBackend(text)

    @settings(max_examples=150, deadline=None)
    @given(TEXTS, TEXTS)
    def check(first: str, second: str) -> None:
        texts = [first, "", second]
        for special in (False, True):
            ids, offsets = slow.encode(texts, add_special_tokens=special)
            assert fast.encode(texts, add_special_tokens=special) == (ids, memoryview(array("Q", offsets)))

    check()


def test_lone_surrogates_are_one_kind_of_error(model_dir: ModelDir) -> None:
    text = json.dumps(read_model_folder(model_dir("tiny")).tokenizer)
    for backend in (FastokensBackend(text), TokenizersBackend(text)):
        with pytest.raises(UnicodeEncodeError):
            backend.encode(["a\ud800"])


def _tiny(model_dir: ModelDir) -> dict[str, Any]:
    return read_model_folder(model_dir("tiny")).tokenizer


def test_fastokens_is_used_where_it_agrees(model_dir: ModelDir) -> None:
    backend, reason = open_backend(_tiny(model_dir))
    assert (backend.name, reason) == ("fastokens", None)


def test_a_file_fastokens_does_not_support_is_left_to_tokenizers(tmp_path: Path, model_dir: ModelDir) -> None:
    tokenizer = _tiny(model_dir)
    vocab = [["<unk>", 0.0], ["a", -1.0], ["b", -2.0], ["▁", -3.0]]
    tokenizer |= {
        "model": {"type": "Unigram", "unk_id": 0, "vocab": vocab},
        "pre_tokenizer": None,
        "added_tokens": [],
    }
    backend, reason = open_backend(tokenizer)
    assert backend.name == "tokenizers"
    assert reason is not None
    assert reason.startswith("fastokens does not support it")


def test_one_other_id_is_enough_to_distrust_fastokens(
    model_dir: ModelDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Wrong(FastokensBackend):
        def encode(
            self, texts: Sequence[str], *, add_special_tokens: bool = False
        ) -> tuple[bytes, Sequence[int]]:
            ids, offsets = super().encode(texts, add_special_tokens=add_special_tokens)
            return (ids[4:] + ids[:4] if "Zürich" in texts[0] else ids), offsets

    monkeypatch.setattr(backends, "FastokensBackend", Wrong)
    backend, reason = open_backend(_tiny(model_dir))
    assert backend.name == "tokenizers"
    assert reason is not None
    assert reason.startswith("fastokens gives other ids for")


def test_fastokens_failing_on_a_text_is_no_reason_to_fail(
    model_dir: ModelDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Failing(FastokensBackend):
        def encode(
            self, texts: Sequence[str], *, add_special_tokens: bool = False
        ) -> tuple[bytes, Sequence[int]]:
            raise ValueError("regex limit")

    monkeypatch.setattr(backends, "FastokensBackend", Failing)
    backend, reason = open_backend(_tiny(model_dir))
    assert backend.name == "tokenizers"
    assert reason is not None
    assert "regex limit" in reason


def test_a_panic_of_fastokens_is_an_exception(model_dir: ModelDir) -> None:
    class PanicException(BaseException):
        pass

    class Panicking:
        def encode_batch_flat(self, *_: Any) -> Any:
            raise PanicException("index out of bounds")

    backend = FastokensBackend(json.dumps(_tiny(model_dir)))
    backend._tokenizer = Panicking()
    with pytest.raises(RuntimeError, match="index out of bounds"):
        backend.encode(["x"])


def test_a_file_neither_can_read() -> None:
    with pytest.raises(LoadError, match="not usable"):
        open_backend({"model": {}})
