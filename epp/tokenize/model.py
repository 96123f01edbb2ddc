"""One model, loaded: its encoder, its chat templates and what may be cached of it."""

from dataclasses import dataclass
from itertools import count
from pathlib import Path

from epp.tokenize.backends import Backend, open_backend
from epp.tokenize.chat import ChatTemplates
from epp.tokenize.cuts import CutRule, find_cut_rule
from epp.tokenize.errors import LoadError
from epp.tokenize.files import read_model_folder

_numbers = count(1)


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """Everything needed to turn this model's prompts into ids."""

    number: int
    """Tells it apart in the prefix cache."""
    backend: Backend
    not_fastokens: str | None
    """Why fastokens does not encode it; None: it does."""
    templates: ChatTemplates
    cuts: CutRule
    before: bytes
    """Ids the post-processor puts before a text (BOS), flat u32."""
    after: bytes
    """Ids it puts behind (EOS)."""
    folder: Path | None = None
    """Where it was read from; None: made without files."""


def load_model(folder: Path) -> LoadedModel:
    """Load a model folder: reads files and builds the encoder, a second or three of work.

    Raises ``LoadError`` with the reason.
    """
    files = read_model_folder(folder)
    templates = ChatTemplates(files.templates, files.special_tokens)
    backend, not_fastokens = open_backend(files.tokenizer)
    cuts = find_cut_rule(files.tokenizer, backend, "".join(files.templates.values()))
    before, after = _brackets(backend)
    return LoadedModel(next(_numbers), backend, not_fastokens, templates, cuts, before, after, folder)


def _brackets(backend: Backend) -> tuple[bytes, bytes]:
    bare, _ = backend.encode(["a"])
    whole, _ = backend.encode(["a"], add_special_tokens=True)
    at = next((i for i in range(0, len(whole), 4) if whole.startswith(bare, i)), None)
    if not bare or at is None:
        raise LoadError("the post-processor does more than put tokens before and behind a text")
    return whole[:at], whole[at + len(bare) :]
