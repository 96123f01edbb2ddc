"""Two encoders behind one face: fastokens, and ``tokenizers`` where fastokens cannot or must not be used.

fastokens reads the same ``tokenizer.json`` and is 10 to 50 times faster, but "the same ids" is a claim
about each vocabulary. So a model is loaded by both, both encode a corpus of awkward texts, and fastokens is
used only if every id agrees.
"""

from array import array
from collections.abc import Sequence
from typing import Any, Protocol

import fastokens
import orjson
import tokenizers

from epp.tokenize.errors import LoadError
from epp.tokenize.probe import probe_texts


class Backend(Protocol):
    """Encodes texts. Thread-safe; releases the interpreter lock while it works."""

    @property
    def name(self) -> str:
        """``fastokens`` or ``tokenizers``."""
        ...

    def encode(
        self, texts: Sequence[str], *, add_special_tokens: bool = False
    ) -> tuple[bytes, Sequence[int]]:
        """Ids of all texts in a row, as flat little-endian u32, and ``len(texts) + 1`` token offsets.

        Raises ``UnicodeEncodeError`` for lone surrogates and, for texts beyond the encoder's own limits,
        other exceptions of its own.
        """
        ...


class FastokensBackend:
    """Encodes by fastokens; raises ``ValueError`` and the like for files it does not support."""

    name = "fastokens"

    def __init__(self, tokenizer_json: str) -> None:
        self._tokenizer: Any = fastokens.Tokenizer.from_json_str(tokenizer_json)

    def encode(
        self, texts: Sequence[str], *, add_special_tokens: bool = False
    ) -> tuple[bytes, Sequence[int]]:
        """See ``Backend``."""
        try:
            ids, offsets = self._tokenizer.encode_batch_flat(list(texts), add_special_tokens)
        except BaseException as error:
            if type(error).__name__ == "PanicException":  # how PyO3 reports a Rust panic: no Exception
                raise RuntimeError(f"fastokens panicked: {error}") from error
            raise
        return ids, memoryview(offsets).cast("Q")


class TokenizersBackend:
    """Encodes by Hugging Face ``tokenizers``."""

    name = "tokenizers"

    def __init__(self, tokenizer_json: str) -> None:
        self._tokenizer = tokenizers.Tokenizer.from_str(tokenizer_json)

    def encode(
        self, texts: Sequence[str], *, add_special_tokens: bool = False
    ) -> tuple[bytes, Sequence[int]]:
        """See ``Backend``."""
        for text in texts:
            text.encode()  # the library would call a lone surrogate a wrong type
        ids = array("I")
        offsets = [0]
        for encoding in self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=add_special_tokens):
            ids.extend(encoding.ids)
            offsets.append(len(ids))
        return ids.tobytes(), offsets


def open_backend(tokenizer: dict[str, Any]) -> tuple[Backend, str | None]:
    """The fastest backend that gives the right ids for this ``tokenizer.json``, and why not fastokens.

    Takes a second or two for a large vocabulary. Raises ``LoadError`` if neither can read it.
    """
    text = orjson.dumps(tokenizer).decode()
    try:
        reference = TokenizersBackend(text)
    except Exception as error:  # the library raises bare Exception
        raise LoadError(f"tokenizer.json is not usable: {error}") from error
    try:
        fast = FastokensBackend(text)
    except Exception as error:  # noqa: BLE001 -- whatever it raises, the other backend is there
        return reference, f"fastokens does not support it: {error}"
    difference = _difference(fast, reference, probe_texts(tokenizer))
    return (fast, None) if difference is None else (reference, difference)


def _difference(fast: Backend, reference: Backend, texts: Sequence[str]) -> str | None:
    for text in texts:
        for special in (False, True):
            expected = reference.encode([text], add_special_tokens=special)[0]
            try:
                got = fast.encode([text], add_special_tokens=special)[0]
            except Exception as error:  # noqa: BLE001 -- as above
                return f"fastokens fails on {text[:40]!r}: {error}"
            if got != expected:
                return f"fastokens gives other ids for {text[:40]!r}"
    return None
