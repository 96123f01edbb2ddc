"""Loads the configured models in the background, each folder once, and finds them by name."""

import asyncio
import logging
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from itertools import count
from time import perf_counter

from epp.config.model import ModelConfig
from epp.tokenize.errors import LoadError
from epp.tokenize.hub import locate
from epp.tokenize.metrics import TokenizeMetrics
from epp.tokenize.model import LoadedModel, load_model

_log = logging.getLogger(__name__)

_RETRY_S = (2.0, 5.0, 15.0, 60.0)
"""Pauses after failed attempts; the last one repeats. A hub may come back, a volume may be mounted late."""
_LOAD_THREADS = 2

LoadFunction = Callable[[str, str | None], LoadedModel]
"""Folder or hub name and revision → model; blocks; raises ``LoadError``."""


class LoadState(StrEnum):
    """Where a model stands."""

    LOADING = "loading"
    READY = "ready"
    FAILED = "failed"
    """The last attempt failed; another follows."""


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """What readiness pages and logs say of one configured model."""

    name: str
    aliases: tuple[str, ...]
    state: LoadState
    backend: str | None
    """``fastokens`` or ``tokenizers``; None: not loaded."""
    splits_text: bool
    """Whether the prefix cache works inside plain text (docs/tokenization.md)."""
    chat: bool
    """Whether it has a chat template."""
    error: str | None
    """Why the last attempt failed."""


@dataclass(slots=True)
class Slot:
    """A configured model and what became of it."""

    config: ModelConfig
    model: LoadedModel | None = None
    error: str | None = None

    def status(self) -> ModelStatus:
        """The slot as facts."""
        model = self.model
        failed = LoadState.FAILED if self.error else LoadState.LOADING
        return ModelStatus(
            self.config.name,
            self.config.aliases,
            LoadState.READY if model else failed,
            model.backend.name if model else None,
            bool(model and model.cuts.in_text),
            bool(model and model.templates),
            self.error,
        )


class ModelLoader:
    """The models of a configuration, by name and alias.

    A name nobody configured means the only model if there is just one, because LoRA adapters are loaded
    into engines at run time and share their base's tokenizer; with several models it means none.
    """

    def __init__(
        self, models: Iterable[ModelConfig], metrics: TokenizeMetrics, load: LoadFunction | None = None
    ) -> None:
        self.slots = [Slot(config) for config in models]
        self._names = {name: slot for slot in self.slots for name in slot.config.aliases}
        self._names |= {slot.config.name: slot for slot in self.slots}
        self._metrics = metrics
        self._load = load or _locate_and_load
        self._executor = ThreadPoolExecutor(_LOAD_THREADS, thread_name_prefix="tokenize-load")
        self._tasks: list[asyncio.Task[None]] = []
        self._untried = 0
        self._tried = asyncio.Event()

    def find(self, name: str) -> Slot | None:
        """The slot a client's model name means."""
        slot = self._names.get(name)
        if slot is None and len(self.slots) == 1:
            return self.slots[0]
        return slot

    def start(self) -> None:
        """Begin loading; returns at once."""
        sources: dict[tuple[str, str | None], list[Slot]] = {}
        for slot in self.slots:
            sources.setdefault((slot.config.path, slot.config.revision), []).append(slot)
        self._tasks = [asyncio.create_task(self._keep_trying(slots)) for slots in sources.values()]
        self._untried = len(self._tasks)
        if not self._tasks:
            self._tried.set()

    async def tried(self) -> None:
        """Return once every model has loaded or failed for the first time."""
        await self._tried.wait()

    async def close(self) -> None:
        """Stop trying. A load that runs ends by itself; its result is dropped."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._executor.shutdown(wait=False, cancel_futures=True)

    async def _keep_trying(self, slots: list[Slot]) -> None:
        for attempt in count():
            loaded = await self._try(slots)
            if attempt == 0:
                self._untried -= 1
                if not self._untried:
                    self._tried.set()
            if loaded:
                return
            await asyncio.sleep(_RETRY_S[min(attempt, len(_RETRY_S) - 1)])

    async def _try(self, slots: list[Slot]) -> bool:
        config = slots[0].config
        started_s = perf_counter()
        try:
            loop = asyncio.get_running_loop()
            model = await loop.run_in_executor(self._executor, self._load, config.path, config.revision)
        except LoadError as error:
            self._fail(slots, str(error))
            return False
        except Exception as error:  # noqa: BLE001 -- files are foreign data; nothing they do may end the task
            self._fail(slots, f"{type(error).__name__}: {error}")
            return False
        for slot in slots:
            slot.model, slot.error = model, None
            self._report(slot.config.name, model, perf_counter() - started_s)
        return True

    def _fail(self, slots: list[Slot], error: str) -> None:
        for slot in slots:
            slot.error = error
            self._metrics.load_failed(slot.config.name, error)
            _log.warning("the tokenizer of %s could not be loaded: %s", slot.config.name, error)

    def _report(self, name: str, model: LoadedModel, duration_s: float) -> None:
        self._metrics.loaded(name, model.backend.name, duration_s, model.cuts.in_text)
        _log.info("the tokenizer of %s is loaded (%s, %.1f s)", name, model.backend.name, duration_s)
        if model.not_fastokens:
            _log.warning("%s is tokenized by the slower library: %s", name, model.not_fastokens)


def _locate_and_load(path: str, revision: str | None) -> LoadedModel:
    return load_model(locate(path, revision))
