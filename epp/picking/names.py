"""What a model name in a request stands for: the base model, or a LoRA adapter on it."""

from collections.abc import Callable, Iterable

from msgspec import Struct

from epp.config.model import ModelConfig
from epp.core.endpoints import Endpoint

_MODEL_LABEL = "model"
"""Endpoint label that says which model an endpoint serves; without it an endpoint serves every model."""


class ModelName(Struct, frozen=True):
    """A resolved name."""

    base: str
    """Configured name of the model, or the name as it came when no model is configured."""
    lora: str
    """Adapter name, part of block identity; empty: the base model itself."""


class ModelNames:
    """Resolves names by the configured models.

    A configured name is the base model; so is an alias, unless some worker's page lists it as an adapter.
    With exactly one model configured any other name is an adapter on it, for an engine that does not
    serve the name answers 404 wherever it goes. With none or several, a name is an adapter if some worker's
    page lists it.
    """

    def __init__(self, models: tuple[ModelConfig, ...], is_adapter: Callable[[str], bool]) -> None:
        self._bases = {alias: model.name for model in models for alias in model.aliases}
        self._bases |= {model.name: model.name for model in models}
        self._only = models[0].name if len(models) == 1 else None
        self._several = len(models) > 1
        self._is_adapter = is_adapter

    def resolve(self, name: str) -> ModelName:
        """Base and adapter of a name."""
        base = self._bases.get(name)
        if base is not None:
            return ModelName(base, name if name != base and self._is_adapter(name) else "")
        if self._only is not None and name:
            return ModelName(self._only, name)
        return ModelName(name, name if self._is_adapter(name) else "")

    def serving(self, base: str, endpoints: Iterable[Endpoint]) -> tuple[Endpoint, ...] | None:
        """Endpoints whose label allows the model; None: everyone (one model, or an unknown name)."""
        if not self._several or base not in self._bases:
            return None
        return tuple(e for e in endpoints if e.labels.get(_MODEL_LABEL, base) == base)
