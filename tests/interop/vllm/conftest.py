"""Two real engines for all tests here; each test brings a picker and an Envoy of its own."""

from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import NamedTuple, Protocol

import pytest

from .model import write_adapter, write_model
from .server import VllmServer
from .stage import Stage, staged

_TIMEOUT_S = 600.0


@pytest.hookimpl(tryfirst=True)  # before -m chooses
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test of this folder; the first of a run waits for the engines to start."""
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.vllm)
            item.add_marker(pytest.mark.envoy)
            item.add_marker(pytest.mark.slow)
            item.add_marker(pytest.mark.timeout(_TIMEOUT_S))


class Engines(NamedTuple):
    """The servers, started together."""

    small: VllmServer
    """80 blocks: any few prompts evict others. Publishes under a topic."""
    wide: VllmServer
    """600 blocks: evicts nothing. Publishes under the empty topic and serves the adapter ``adapter``."""


class StageFor(Protocol):
    """Puts a picker and an Envoy before some engines."""

    def __call__(self, *servers: VllmServer, policy: str = "kv") -> AbstractAsyncContextManager[Stage]: ...


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder both the engines and the picker read."""
    return write_model(tmp_path_factory.mktemp("vllm") / "model")


@pytest.fixture(scope="session")
def engines(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engines]:
    folder = tmp_path_factory.mktemp("engines")
    adapter = write_adapter(folder / "adapter", seed=1)
    lora = ("--enable-lora", "--max-lora-rank", "8", "--lora-modules", f"adapter={adapter}")
    trusting = ("--trust-request-chat-template",)  # one engine then renders every template we carry
    small = VllmServer("small", model, folder / "small.log", blocks=80, context=2048, topic="kv@small")
    wide = VllmServer("wide", model, folder / "wide.log", blocks=600, context=8192, extra=(*lora, *trusting))
    try:
        for server in (small, wide):
            server.start()
        for server in (small, wide):
            server.healthy()
        yield Engines(small, wide)
    finally:
        for server in (small, wide):
            server.stop()


@pytest.fixture
def stage_for(tmp_path: Path, model: Path) -> StageFor:
    def stage(*servers: VllmServer, policy: str = "kv") -> AbstractAsyncContextManager[Stage]:
        return staged(tmp_path, model, servers, policy=policy)

    return stage
