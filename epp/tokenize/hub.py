"""Model names that are no local folder: resolved to a folder by the Hugging Face hub client, if installed."""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from epp.tokenize.errors import LoadError

_WANTED = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "chat_template.json",
    "additional_chat_templates/*.jinja",
)
"""Only what tokenization reads: never weights."""


def locate(path: str, revision: str | None) -> Path:
    """Folder of a model given as a folder or a hub name; downloads at most once per revision (hub cache).

    Blocks on the network. Raises ``LoadError`` if it is neither, the ``hub`` extra is missing or the hub
    cannot be reached and nothing is cached.
    """
    folder = Path(path)
    if folder.is_dir():
        return folder
    if folder.is_absolute() or path.startswith(".") or path.count("/") > 1:
        raise LoadError(f"{path} is no folder")
    download = _hub_client(path)
    try:
        return Path(download(path, revision=revision, allow_patterns=list(_WANTED)))
    except Exception as error:  # the client's errors share no root across its versions
        raise LoadError(f"{path} could not be had from the model hub: {error}") from error


def _hub_client(path: str) -> Callable[..., Any]:
    try:
        client: Any = import_module("huggingface_hub")
    except ImportError as error:
        raise LoadError(
            f"{path} is no folder, and model names need the hub client: install llm-endpoint-picker[hub]"
        ) from error
    download: Callable[..., Any] = client.snapshot_download
    return download
