"""A model folder in Hugging Face layout → the parts tokenization needs, read once.

``transformers`` 5.x is the reference for which file wins:

- ``tokenizer.json`` holds the whole pipeline, the post-processor (BOS, EOS) included; ``add_bos_token`` in
  ``tokenizer_config.json`` changes nothing where it exists.
- Added tokens that only ``tokenizer_config.json`` or ``added_tokens.json`` know are added to it.
- ``chat_template.jinja`` and ``additional_chat_templates/*.jinja`` win over ``chat_template`` in
  ``tokenizer_config.json``, which is one text or a list of named ones; ``chat_template.json`` is the
  multimodal processors' older place for it.
- Named special tokens come from ``tokenizer_config.json``; ``special_tokens_map.json`` counts where that has
  no ``added_tokens_decoder``.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from epp.tokenize.errors import LoadError

_NAMED_TOKENS = (
    "bos_token",
    "eos_token",
    "unk_token",
    "sep_token",
    "pad_token",
    "cls_token",
    "mask_token",
)
_MAX_FILE_BYTES = 256 * 1024 * 1024  # the largest vocabularies are near 35 MB


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """What was read."""

    tokenizer: dict[str, Any]
    """``tokenizer.json`` with all added tokens and without truncation or padding."""
    templates: Mapping[str, str]
    """Chat templates by name; empty: the model has none."""
    special_tokens: Mapping[str, str]
    """Variables such as ``bos_token`` for templates."""


def read_model_folder(folder: Path) -> ModelFiles:
    """Read ``folder``. Raises ``LoadError`` naming the file that is missing or wrong."""
    if not folder.is_dir():
        raise LoadError(f"{folder} is no folder")
    tokenizer = _read_object(folder / "tokenizer.json")
    if tokenizer is None:
        raise LoadError(f"{folder} has no tokenizer.json")
    config = _read_object(folder / "tokenizer_config.json") or {}
    if "added_tokens_decoder" not in config:
        config |= _read_object(folder / "special_tokens_map.json") or {}
    try:
        _add_missing_tokens(tokenizer, list(_declared_tokens(folder, config)))
        special_tokens = _special_tokens(config)
        templates = _templates(folder, config)
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise LoadError(f"{folder}: a file has an unexpected shape: {error!r}") from error
    tokenizer["truncation"] = tokenizer["padding"] = None
    return ModelFiles(tokenizer, templates, special_tokens)


def _read_bytes(path: Path) -> bytes | None:
    try:
        if path.stat().st_size > _MAX_FILE_BYTES:
            raise LoadError(f"{path} is larger than {_MAX_FILE_BYTES} bytes")
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise LoadError(f"{path} cannot be read: {error.strerror}") from error


def _read_object(path: Path) -> dict[str, Any] | None:
    raw = _read_bytes(path)
    if raw is None:
        return None
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise LoadError(f"{path} is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise LoadError(f"{path} is no JSON object")
    return value  # pyright: ignore[reportUnknownVariableType] -- foreign JSON


def _read_text(path: Path) -> str | None:
    raw = _read_bytes(path)
    try:
        return None if raw is None else raw.decode()
    except UnicodeDecodeError as error:
        raise LoadError(f"{path} is not UTF-8") from error


def _special_tokens(config: dict[str, Any]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name in _NAMED_TOKENS:
        value = config.get(name)
        content = value.get("content") if isinstance(value, dict) else value  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType] -- foreign JSON
        if isinstance(content, str):
            found[name] = content
    return found


def _declared_tokens(folder: Path, config: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Added tokens in the order of their ids, as ``tokenizer.json`` writes them."""
    decoder: dict[str, Any] = config.get("added_tokens_decoder") or {}
    for token_id, token in sorted(decoder.items(), key=lambda item: int(item[0])):
        yield {**_PLAIN_TOKEN, **token, "id": int(token_id)}
    legacy: dict[str, int] = {} if decoder else _read_object(folder / "added_tokens.json") or {}
    named = set(_special_tokens(config).values())
    for content, number in sorted(legacy.items(), key=lambda item: item[1]):
        special = content in named
        flags = {"content": content, "id": number, "special": special, "normalized": not special}
        yield {**_PLAIN_TOKEN, **flags}


_PLAIN_TOKEN = {
    "single_word": False,
    "lstrip": False,
    "rstrip": False,
    "normalized": False,
    "special": True,
}


def _add_missing_tokens(tokenizer: dict[str, Any], declared: list[dict[str, Any]]) -> None:
    present: list[dict[str, Any]] = tokenizer.setdefault("added_tokens", [])
    contents = {token["content"] for token in present}
    present.extend(token for token in declared if token["content"] not in contents)
    present.sort(key=lambda token: token["id"])


def _templates(folder: Path, config: dict[str, Any]) -> dict[str, str]:
    files: dict[str, str] = {}
    default = _read_text(folder / "chat_template.jinja")
    if default is not None:
        files["default"] = default
    for path in sorted((folder / "additional_chat_templates").glob("*.jinja")):
        text = _read_text(path)
        if text is not None:
            files[path.stem] = text
    if files:
        return files
    older = _read_object(folder / "chat_template.json") or {}
    declared: Any = config.get("chat_template") or older.get("chat_template")
    if declared is None:
        return {}
    if isinstance(declared, str):
        return {"default": declared}
    return {str(entry["name"]): str(entry["template"]) for entry in declared}
