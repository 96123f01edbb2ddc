"""What segments are made of; tests inject their own."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from epp.core.endpoints import PoolSnapshot
from epp.core.poolrules import PoolRules
from epp.core.restoring import Restored
from epp.core.tokens import Tokenizer
from epp.picking.picker import RequestPicker
from frontend.http.api import Upstream
from frontend.orchestrate.counters import NoCounters, OrchestratorCounters

if TYPE_CHECKING:  # those modules are made of Components
    from frontend.tolerance.migration import MigrationCounters
    from frontend.tolerance.queue import QueueCounters


class WorkerHealth(Protocol):
    """What experience says of workers: where a circuit breaker hooks in. Never blocks."""

    def usable(self, worker_id: int) -> bool:
        """Whether a request may be sent there now; a question without effect."""
        ...

    def all_usable(self) -> bool:
        """Whether that holds for everybody; cheap, however many there are."""
        ...

    def sent(self, worker_id: int) -> None:
        """A request leaves for it; exactly one of ``succeeded`` and ``failed`` follows, or neither when the
        client left first."""
        ...

    def succeeded(self, worker_id: int) -> None:
        """It answered whole, whatever it said but a server error."""
        ...

    def failed(self, worker_id: int) -> None:
        """It could not be reached, broke off, took too long, or reported a fault of its own."""
        ...


class EverybodyUsable:
    """A WorkerHealth that learns nothing."""

    def usable(self, worker_id: int) -> bool:  # noqa: ARG002 -- the protocol's
        """Always."""
        return True

    def all_usable(self) -> bool:
        """Always."""
        return True

    def sent(self, worker_id: int) -> None:
        """Nothing is kept."""

    def succeeded(self, worker_id: int) -> None:
        """Nothing is kept."""

    def failed(self, worker_id: int) -> None:
        """Nothing is kept."""


async def no_text(_model: str, _ids: list[int]) -> str | None:
    """No tokenizer is at hand."""
    return None


def unknown_block(_worker_id: int) -> int:
    """Nobody knows."""
    return 0


def no_adapter(_model: str) -> str:
    """Every name is a base model's."""
    return ""


def unknown_window(_model: str) -> int | None:
    """Nobody knows."""
    return None


def uncounted() -> None:
    """Nobody counts."""


def uncounted_name(_outcome: Restored) -> None:
    """Nobody counts."""


@dataclass(frozen=True, slots=True)
class Components:
    """The parts of one pipeline."""

    upstream: Upstream
    """Calls to model servers."""
    snapshot: Callable[[], PoolSnapshot]
    """The endpoints known now."""
    picker: RequestPicker | None
    """In-process picks; None: nothing may be discovered (direct-to-known)."""
    tokenizer: Tokenizer
    """Prompts to token ids."""
    clock: Callable[[], float]
    """Monotonic seconds."""
    health: WorkerHealth = EverybodyUsable()  # noqa: RUF009 -- has no state
    """Which workers are left alone after failures."""
    disagg: OrchestratorCounters = NoCounters()  # noqa: RUF009 -- has no state
    """Told of every split request."""
    decode: Callable[[str, list[int]], Awaitable[str | None]] = no_text
    """Text of a model's token ids, special tokens included; None: its tokenizer is not at hand."""
    block_tokens: Callable[[int], int] = unknown_block
    """A worker's KV block size in tokens; 0: unknown."""
    adapter: Callable[[str], str] = no_adapter
    """The LoRA adapter a model's name means, as engines know it; empty: the base model."""
    context_window: Callable[[str], int | None] = unknown_window
    """A model's context length in tokens; None: unknown."""
    rules: PoolRules = field(default_factory=PoolRules)
    """What the pool's owners say of its requests; empty: nothing."""
    restored: Callable[[Restored], None] = uncounted_name
    """Told of each answer in which the client's name of the model was to stand."""
    migration: "MigrationCounters | None" = None
    """Told of requests that are taken elsewhere."""
    queue: "QueueCounters | None" = None
    """Told of requests that wait."""
    retried: Callable[[], None] = uncounted
    """Told of each request sent to another worker because the first could not be reached."""
