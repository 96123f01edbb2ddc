"""A service around a model that is loaded already, and a record of what it reports."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from epp.config.model import ModelConfig, TokenizeConfig
from epp.tokenize import NullMetrics, TokenizeMetrics, TokenizerService
from epp.tokenize.model import LoadedModel


@dataclass
class Recorded(NullMetrics):
    """Keeps what the tests ask about."""

    reasons: list[tuple[str, str]] = field(default_factory=list)
    depths: list[int] = field(default_factory=list)
    cached: list[tuple[int, int]] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    sizes: list[tuple[int, int]] = field(default_factory=list)

    def degraded(self, model: str, reason: str) -> None:
        self.reasons.append((model, reason))

    def queue_depth(self, prompts: int) -> None:
        self.depths.append(prompts)

    def tokenized(self, model: str, duration_s: float, cached_tokens: int, computed_tokens: int) -> None:
        self.cached.append((cached_tokens, computed_tokens))

    def load_failed(self, model: str, reason: str) -> None:
        self.failures.append(reason)

    def cache_size(self, entries: int, size_bytes: int) -> None:
        self.sizes.append((entries, size_bytes))


@asynccontextmanager
async def running_service(
    model: LoadedModel, metrics: TokenizeMetrics | None = None, **settings: Any
) -> AsyncIterator[TokenizerService]:
    """A service whose only model is called ``m``."""
    config = TokenizeConfig(models=(ModelConfig("m", "unused", aliases=("alias",)),), **settings)
    service = TokenizerService(config, metrics or NullMetrics(), load=lambda _path, _revision: model)
    await service.start()
    await service.tried()
    try:
        yield service
    finally:
        await service.close()
