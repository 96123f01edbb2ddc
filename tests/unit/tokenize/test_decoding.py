"""Decoding with vocabularies of real size, and where a decoder is found."""

from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest
import tokenizers

from epp.config.model import ModelConfig, TokenizeConfig
from epp.testing.vocab import Kind
from epp.tokenize import NullMetrics, TokenizerService
from epp.tokenize.decoding import load_decoder, make_decoder
from epp.tokenize.errors import LoadError

ModelDir = Callable[..., Path]


@pytest.mark.parametrize("kind", ["tiny", "tekken"])
def test_random_ids_decode_as_the_library_does(model_dir: ModelDir, kind: Kind) -> None:
    folder = model_dir(kind)
    decoder = load_decoder(folder)
    library = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    draw = Random(7)
    for _ in range(300):
        ids = [draw.randrange(library.get_vocab_size()) for _ in range(draw.randrange(30))]
        for skip in (True, False):
            expected = library.decode(ids, skip_special_tokens=skip)
            assert decoder.decode(ids, skip_special=skip) == expected


def test_special_tokens_are_hidden_unless_kept(model_dir: ModelDir) -> None:
    decoder = load_decoder(model_dir("tiny"))
    (end,) = decoder.end_tokens
    assert decoder.special[end] == "<|im_end|>"
    assert decoder.stream().push(end) == ""
    assert decoder.stream(keep=decoder.ids_of(["<|im_end|>"])).push(end) == "<|im_end|>"
    assert decoder.token_bytes(end) == b"<|im_end|>"
    assert decoder.token_bytes(10**6) == b""
    assert "<|im_start|>" in decoder.templates


async def test_the_service_reads_a_decoder_when_first_asked(model_dir: ModelDir) -> None:
    folder = model_dir("tiny")
    service = TokenizerService(TokenizeConfig(models=(ModelConfig("m", str(folder)),)), NullMetrics())
    assert await service.decoder("m") is None
    await service.start()
    await service.tried()
    decoder = await service.decoder("m")
    assert decoder is not None
    assert await service.decoder("m") is decoder
    assert decoder.decode([72, 73]) == decoder.decode([72]) + decoder.decode([73])
    await service.close()


def test_a_folder_that_is_none_is_a_load_error(tmp_path: Path) -> None:
    with pytest.raises(LoadError, match="no folder"):
        load_decoder(tmp_path / "missing")
    (tmp_path / "tokenizer.json").write_text('{"model": {"vocab": 5}, "added_tokens": []}')
    with pytest.raises(LoadError, match="unexpected shape"):
        load_decoder(tmp_path)
    with pytest.raises(ValueError, match="not usable"):
        make_decoder({"model": {"vocab": {}}, "added_tokens": [], "decoder": None})
