"""A batch of KV events in the flat form the core reads."""

from array import array
from collections.abc import Sequence

from cabi._native import ffi, lib
from cabi.buffers import Buffer, view
from cabi.cdata import CData


class EventBatch:
    """Collects events; the core then reads its buffers without copying."""

    def __init__(self) -> None:
        self._events: list[tuple[int, ...]] = []
        self._hashes = array("Q")
        self._tokens = bytearray()
        self._mm_counts = array("I")
        self._mm_hashes = array("Q")
        self._has_mm = False

    def __len__(self) -> int:
        return len(self._events)

    def stored(
        self,
        hashes: Sequence[int],
        tokens: Buffer,
        block_tokens: int,
        *,
        parent: int | None = None,
        namespace_seed: int,
        tier: int = 0,
        mm_hashes: Sequence[Sequence[int]] = (),
    ) -> None:
        """A chain of blocks became resident; ``tokens`` holds ``len(hashes) * block_tokens`` ids. An event
        that does not fit that description is counted as malformed."""
        n_blocks = len(hashes)
        fits = memoryview(tokens).nbytes == 4 * n_blocks * block_tokens and len(mm_hashes) in (0, n_blocks)
        flags = 0 if parent is None else lib.EPP_EVENT_HAS_PARENT
        size = block_tokens if fits and 0 < block_tokens <= 1 << 20 else 0
        self._add(lib.EPP_EVENT_STORED, tier, flags, size, parent or 0, namespace_seed, n_blocks)
        self._hashes.extend(hashes)
        if size:
            self._tokens += tokens
            self._add_mm(mm_hashes, n_blocks)

    def removed(self, hashes: Sequence[int], tier: int = 0) -> None:
        """Blocks left a tier."""
        self._add(lib.EPP_EVENT_REMOVED, tier, 0, 0, 0, 0, len(hashes))
        self._hashes.extend(hashes)

    def cleared(self) -> None:
        """The rank's cache is empty."""
        self._add(lib.EPP_EVENT_CLEARED, 0, 0, 0, 0, 0, 0)

    def arguments(self) -> tuple[CData, ...]:
        """What ``epp_router_apply`` takes between the time and the report."""
        return (
            ffi.new("epp_event[]", self._events),
            len(self._events),
            ffi.from_buffer("uint64_t[]", self._hashes),
            len(self._hashes),
            view(self._tokens),
            len(self._tokens) // 4,
            ffi.from_buffer("uint32_t[]", self._mm_counts) if self._has_mm else ffi.NULL,
            len(self._mm_counts),
            ffi.from_buffer("uint64_t[]", self._mm_hashes),
            len(self._mm_hashes),
        )

    def _add(
        self, kind: int, tier: int, flags: int, block_tokens: int, parent: int, seed: int, n_blocks: int
    ) -> None:
        offsets = (len(self._tokens) // 4, len(self._mm_counts), len(self._mm_hashes))
        first_hash = len(self._hashes)
        self._events.append((kind, tier, flags, block_tokens, parent, seed, first_hash, n_blocks, *offsets))

    def _add_mm(self, mm_hashes: Sequence[Sequence[int]], n_blocks: int) -> None:
        self._has_mm |= bool(mm_hashes)
        self._mm_counts.extend(map(len, mm_hashes) if mm_hashes else [0] * n_blocks)
        for block in mm_hashes:
            self._mm_hashes.extend(block)
