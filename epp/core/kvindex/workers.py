"""The workers a router knows: their specs, what was learnt of their block size, their scraped load."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from epp.core.endpoints import WorkerRank
from epp.core.router import LoadSample, WorkerSpec


@dataclass(slots=True)
class Worker:
    """One worker."""

    spec: WorkerSpec
    block_tokens: int = 0
    """Known block size: from the spec or learnt; 0: unknown."""
    loads: dict[int, LoadSample] = field(default_factory=dict[int, LoadSample])
    """By rank."""
    foreign_groups: dict[int, set[int]] = field(default_factory=dict[int, set[int]])
    """By rank: cache groups that hold another kind of attention."""

    def ranks(self) -> Iterator[WorkerRank]:
        """Its ranks, ascending."""
        for rank in range(self.spec.dp_size):
            yield WorkerRank(self.spec.worker_id, rank)

    def load(self, rank: int) -> LoadSample:
        """What was last scraped of a rank."""
        return self.loads.get(rank) or LoadSample()


class WorkerTable:
    """Workers by id."""

    def __init__(self) -> None:
        self._workers: dict[int, Worker] = {}

    def __len__(self) -> int:
        return len(self._workers)

    def __iter__(self) -> Iterator[Worker]:
        """Ascending by id."""
        for worker_id in sorted(self._workers):
            yield self._workers[worker_id]

    def get(self, worker_id: int) -> Worker | None:
        """The worker, if known."""
        return self._workers.get(worker_id)

    def at(self, target: WorkerRank) -> Worker | None:
        """The worker, if it is known and has that rank."""
        worker = self._workers.get(target.worker_id)
        return worker if worker and 0 <= target.rank < worker.spec.dp_size else None

    def add(self, spec: WorkerSpec) -> Worker:
        """Know a new worker."""
        worker = self._workers[spec.worker_id] = Worker(spec, spec.block_tokens)
        return worker

    def pop(self, worker_id: int) -> Worker | None:
        """Forget a worker."""
        return self._workers.pop(worker_id, None)
