"""Our two routers side by side: both get the same, and must say the same."""

from collections.abc import Iterable

import msgspec

from epp.core.endpoints import WorkerRank
from epp.core.kvindex.native import NativeRouter
from epp.core.kvindex.reference import ReferenceRouter
from epp.core.router import (
    BlocksCleared,
    BlocksRemoved,
    BlocksStored,
    CandidateTerms,
    KvEvent,
    RankLoad,
    Router,
    RouterOptions,
    Selection,
    SelectRequest,
    WorkerSpec,
)
from epp.wire import kvevents

from .streams import BLOCK_TOKENS, Change, Removed, Space, Stored, World

_MEDIA = ("GPU", "CPU", "DISK")


class Routers:
    """The native router and the reference."""

    def __init__(self, workers: int, dp_size: int = 1) -> None:
        options = RouterOptions()
        self.both: tuple[Router, ...] = (NativeRouter(options), ReferenceRouter(options, kvevents.decode))
        for router in self.both:
            for worker in range(1, workers + 1):
                router.upsert_worker(
                    WorkerSpec(worker, dp_size=dp_size, block_tokens=BLOCK_TOKENS, total_blocks=1000)
                )

    def apply(self, target: WorkerRank, events: Iterable[KvEvent]) -> None:
        """Typed events."""
        batch = list(events)
        reports = [router.apply(target, batch, 0.0) for router in self.both]
        assert reports[0] == reports[1]

    def apply_payload(self, target: WorkerRank, payload: bytes) -> None:
        """One engine message."""
        reports = [router.apply_payload(target, payload, 0.0) for router in self.both]
        assert reports[0] == reports[1]

    def measure(self, request: SelectRequest) -> tuple[CandidateTerms, ...]:
        """The terms of all candidates."""
        native, reference = (router.measure(request) for router in self.both)
        assert native == reference
        return native

    def select(self, request: SelectRequest) -> Selection:
        """One choice."""
        native, reference = (router.select(request) for router in self.both)
        assert native == reference
        assert isinstance(native, Selection), native
        return native

    def runs(self, tokens: bytes, space: Space) -> dict[WorkerRank, tuple[int, int, int]]:
        """Blocks per rank of the resident run: on the device, with the host's, with the disk's."""
        rows = self.measure(SelectRequest(tokens, 0.0, 1, lora=space.lora, salt=space.salt))
        return {row.worker: _cumulative(row) for row in rows}

    def loads(self) -> tuple[RankLoad, ...]:
        """What is booked."""
        native, reference = (router.loads() for router in self.both)
        assert native == reference
        return native


def typed(world: World, change: Change) -> KvEvent:
    """The event a router takes."""
    if isinstance(change, Stored):
        names = tuple(world.names[node] for node in change.nodes)
        parent = None if change.parent is None else world.names[change.parent]
        space = world.spaces[change.nodes[0]]
        tokens = world.prompt(change.nodes)
        return BlocksStored(names, parent, tokens, BLOCK_TOKENS, change.tier, space.lora, space.salt)
    if isinstance(change, Removed):
        return BlocksRemoved((world.names[change.node],), change.tier)
    return BlocksCleared()


def payload(world: World, changes: Iterable[Change], rank: int) -> bytes:
    """The message an engine publishes: vLLM's map form, with the salt where Dynamo looks for it."""
    return msgspec.msgpack.encode([0.0, [_event_map(world, change) for change in changes], rank])


def _event_map(world: World, change: Change) -> dict[str, object]:
    if isinstance(change, Stored):
        space = world.spaces[change.nodes[0]]
        names = [world.names[node] for node in change.nodes]
        prompt = memoryview(world.prompt(change.nodes)).cast("I").tolist()
        return {
            "type": "BlockStored",
            "block_hashes": names,
            "parent_block_hash": None if change.parent is None else world.names[change.parent],
            "token_ids": prompt,
            "block_size": BLOCK_TOKENS,
            "lora_id": None,
            "medium": _MEDIA[change.tier],
            "lora_name": space.lora or None,
            "cache_salt": space.salt or None,
        }
    if isinstance(change, Removed):
        name = world.names[change.node]
        return {"type": "BlockRemoved", "block_hashes": [name], "medium": _MEDIA[change.tier]}
    return {"type": "AllBlocksCleared"}


def _cumulative(row: CandidateTerms) -> tuple[int, int, int]:
    host = row.device_blocks + row.host_blocks
    return row.device_blocks, host, host + row.disk_blocks
