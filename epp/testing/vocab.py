"""Tokenizer folders of real size without a model hub, made from vocabularies that PyPI packages carry.

``qwen`` (151k tokens) comes from dashscope's ``qwen.tiktoken`` and ``tekken`` (131k) from mistral-common's
Tekken file; both packages are Apache-2.0. ``tiny`` is the first 2045 tokens of ``qwen``: the ranks of a
byte-level BPE are in the order of merging, so any first part is a vocabulary as well. The chat templates are
our own (``epp/testing/templates``). The same kind always gives the same bytes.
"""

import base64
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

Kind = Literal["qwen", "tekken", "tiny"]

_QWEN_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_TINY_RANKS = 2045  # with the three special tokens: 2048


@dataclass(frozen=True, slots=True)
class _Vocabulary:
    """A byte-level BPE: ``ranks`` from token bytes to id, special tokens at their ids."""

    ranks: Mapping[bytes, int]
    pattern: str
    special: Mapping[str, int]
    normalizer: str | None
    bos_token: str | None
    eos_token: str
    template: str


def build_model_dir(path: Path, kind: Kind = "qwen", *, template: str | None = None) -> Path:
    """Make ``path`` a model folder as Hugging Face lays it out, without weights; returns it.

    ``template`` names another of :func:`template_names` for its chat template. A folder that exists is
    taken as it is. Takes about two seconds for the large kinds; raises ``ModuleNotFoundError`` if the
    package with the vocabulary is not installed.
    """
    if (path / "tokenizer.json").exists():
        return path
    vocabulary = _SOURCES[kind]()
    draft = path.with_name(f"{path.name}.{uuid4().hex}")
    draft.mkdir(parents=True)
    _write(draft / "tokenizer.json", _tokenizer_json(vocabulary))
    _write(draft / "tokenizer_config.json", _tokenizer_config(vocabulary))
    text = template_text(template or vocabulary.template)
    (draft / "chat_template.jinja").write_text(text, encoding="utf-8")
    return _publish(draft, path)


def cached_model_dir(cache: Path, kind: Kind = "qwen", *, template: str | None = None) -> Path:
    """A folder of :func:`build_model_dir` under ``cache``, made once; safe for several processes."""
    return build_model_dir(cache / (f"{kind}-{template}" if template else kind), kind, template=template)


def template_names() -> tuple[str, ...]:
    """The chat templates this package carries, each in the style of a well-known family."""
    folder = files("epp.testing").joinpath("templates")
    return tuple(sorted(file.name.removesuffix(".jinja") for file in folder.iterdir()))


def template_text(name: str) -> str:
    """Source of one of :func:`template_names`."""
    return files("epp.testing").joinpath("templates", f"{name}.jinja").read_text(encoding="utf-8")


def _publish(draft: Path, path: Path) -> Path:
    try:
        draft.rename(path)
    except OSError:  # another process was faster
        shutil.rmtree(draft)
    return path


def _write(path: Path, value: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, separators=(",", ":")), encoding="utf-8")


def _qwen() -> _Vocabulary:
    raw = files("dashscope").joinpath("resources", "qwen.tiktoken").read_bytes()
    fields = (line.split() for line in raw.splitlines() if line)
    ranks = {base64.b64decode(token): int(rank) for token, rank in fields}
    return _qwen_like(ranks, "qwen")


def _tiny() -> _Vocabulary:
    ranks = {token: rank for token, rank in _qwen().ranks.items() if rank < _TINY_RANKS}
    return _qwen_like(ranks, "chatml")


def _qwen_like(ranks: Mapping[bytes, int], template: str) -> _Vocabulary:
    names = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
    special = {name: len(ranks) + index for index, name in enumerate(names)}
    return _Vocabulary(ranks, _QWEN_PATTERN, special, "NFC", None, "<|im_end|>", template)


def _tekken() -> _Vocabulary:
    raw = files("mistral_common").joinpath("data", "tekken_240911.json").read_bytes()
    source = json.loads(raw)
    config = source["config"]
    reserved: int = config["default_num_special_tokens"]
    wanted: Sequence[Any] = source["vocab"][: config["default_vocab_size"] - reserved]
    ranks = {base64.b64decode(entry["token_bytes"]): reserved + entry["rank"] for entry in wanted}
    names = ["<unk>", "<s>", "</s>", *_TEKKEN_CONTROL]
    names += [f"<SPECIAL_{index}>" for index in range(len(names), reserved)]
    special = {name: index for index, name in enumerate(names)}
    return _Vocabulary(ranks, config["pattern"], special, None, "<s>", "</s>", "mistral")


_TEKKEN_CONTROL = (
    "[INST]",
    "[/INST]",
    "[AVAILABLE_TOOLS]",
    "[/AVAILABLE_TOOLS]",
    "[TOOL_RESULTS]",
    "[/TOOL_RESULTS]",
    "[TOOL_CALLS]",
    "[IMG]",
    "<pad>",
    "[IMG_BREAK]",
    "[IMG_END]",
)
_SOURCES = {"qwen": _qwen, "tekken": _tekken, "tiny": _tiny}


def _tokenizer_json(vocabulary: _Vocabulary) -> dict[str, Any]:
    to_text = str.maketrans(dict(_byte_letters()))
    words = {token: token.decode("latin-1").translate(to_text) for token in vocabulary.ranks}
    vocab = {**vocabulary.special, **{words[token]: rank for token, rank in vocabulary.ranks.items()}}
    merges = [[words[left], words[right]] for left, right in _merges(vocabulary.ranks)]
    split = {"type": "Split", "pattern": {"Regex": vocabulary.pattern}, "behavior": "Isolated"}
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [_added(name, number) for name, number in vocabulary.special.items()],
        "normalizer": {"type": vocabulary.normalizer} if vocabulary.normalizer else None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [{**split, "invert": False}, byte_level]},
        "post_processor": _post_processor(vocabulary) or byte_level,
        "decoder": byte_level,
        "model": {"type": "BPE", "ignore_merges": False, "vocab": vocab, "merges": merges},
    }


def _added(content: str, number: int) -> dict[str, Any]:
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return {"id": number, "content": content, **flags, "special": True}


def _post_processor(vocabulary: _Vocabulary) -> dict[str, Any] | None:
    name = vocabulary.bos_token
    if name is None:
        return None
    bos = {"SpecialToken": {"id": name, "type_id": 0}}
    texts = [{"Sequence": {"id": letter, "type_id": index}} for index, letter in enumerate("AB")]
    return {
        "type": "TemplateProcessing",
        "single": [bos, texts[0]],
        "pair": [bos, *texts],
        "special_tokens": {name: {"id": name, "ids": [vocabulary.special[name]], "tokens": [name]}},
    }


def _tokenizer_config(vocabulary: _Vocabulary) -> dict[str, Any]:
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": vocabulary.bos_token,
        "eos_token": vocabulary.eos_token,
        "pad_token": next(iter(vocabulary.special)),
        "clean_up_tokenization_spaces": False,
        "model_max_length": 131072,
        "added_tokens_decoder": {
            str(number): {key: value for key, value in _added(name, number).items() if key != "id"}
            for name, number in vocabulary.special.items()
        },
    }


def _byte_letters() -> Iterator[tuple[int, int]]:
    """Byte-level BPE's alphabet: printable bytes stand for themselves, others for letters from U+0100 on."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    substitutes = iter(range(0x100, 0x200))
    for byte in range(0x100):
        yield byte, byte if byte in printable else next(substitutes)


def _merges(ranks: Mapping[bytes, int]) -> Iterator[tuple[bytes, bytes]]:
    """The merge that makes each token, in order of rank: its two parts once all earlier merges are done."""
    for token, rank in sorted(ranks.items(), key=lambda item: item[1]):
        if len(token) > 1:
            left, right = _last_parts(token, rank, ranks)
            yield left, right


def _last_parts(token: bytes, rank: int, ranks: Mapping[bytes, int]) -> list[bytes]:
    parts = [token[index : index + 1] for index in range(len(token))]
    while len(parts) > 2:
        best, at = rank, -1
        for index in range(len(parts) - 1):
            pair = ranks.get(parts[index] + parts[index + 1], rank)
            if pair < best:
                best, at = pair, index
        parts[at : at + 2] = [parts[at] + parts[at + 1]]
    return parts
