"""What a model server says at ``GET /v1/models``: vLLM, SGLang and TensorRT-LLM agree on OpenAI's form and
add ``max_model_len``, ``root`` and ``parent``."""

from dataclasses import dataclass

import msgspec

MAX_MODELS = 4096
"""Of one page; what is beyond is left out."""


@dataclass(frozen=True, slots=True)
class ListedModel:
    """One entry."""

    id: str
    context_window: int | None = None
    """``max_model_len``: prompt and answer together, in tokens; None: not told (adapters)."""
    parent: str | None = None
    """Base model of a LoRA adapter; None: it is no adapter."""
    owned_by: str = ""
    created: int = 0
    """Unix seconds; 0: not told."""


class _Card(msgspec.Struct):
    id: str
    max_model_len: int | None = None
    parent: str | None = None
    owned_by: str | None = None
    created: float | None = None


class _Cards(msgspec.Struct):
    data: list[msgspec.Raw]


_PAGE = msgspec.json.Decoder(_Cards)
_CARD = msgspec.json.Decoder(_Card)


def read_models(page: bytes) -> tuple[ListedModel, ...]:
    """The entries of a page; entries of another form are left out. Raises ValueError for what is no page."""
    try:
        cards = _PAGE.decode(page).data[:MAX_MODELS]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"no list of models: {error}") from error
    return tuple(model for card in cards if (model := _read(card)) is not None)


def _read(raw: msgspec.Raw) -> ListedModel | None:
    try:
        card = _CARD.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    window = card.max_model_len
    return ListedModel(
        card.id,
        window if window is not None and window > 0 else None,
        card.parent,
        card.owned_by or "",
        _seconds(card.created),
    )


def _seconds(created: float | None) -> int:
    return int(created) if created is not None and 0 < created < 1e11 else 0
