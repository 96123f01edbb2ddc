"""The paged prefix cache of one rank: physical blocks, reference counts, LRU eviction, events.

Rules are vLLM's (``v1/core/block_pool.py``): only full blocks are findable; a freed block keeps its content
until it is handed out again, oldest first; the tail of a sequence is older than its head; equal content may
exist in several copies, and each copy is announced and withdrawn on its own.
"""

from collections import OrderedDict
from collections.abc import Iterable, Sequence

import xxhash

from epp.testing.engine.events import CacheEvent, Cleared, Removed, Stored
from epp.testing.engine.ids import TokenIds

_ROOT = b"\0" * 8


def block_hash(parent: int | None, tokens: bytes, extra: bytes = b"") -> int:
    """The engine's own 64-bit name of a block: its parent's name, its tokens (u32) and ``extra``."""
    head = _ROOT if parent is None else parent.to_bytes(8, "little")
    return xxhash.xxh3_64_intdigest(head + tokens + extra)


class BlockPool:
    """``blocks`` physical blocks, numbered from 1 (0 is the null block). Allocation order is LRU."""

    def __init__(self, blocks: int, block_tokens: int) -> None:
        self.block_tokens = block_tokens
        self.blocks = blocks
        self._free: OrderedDict[int, None] = OrderedDict((i, None) for i in range(1, blocks + 1))
        self._references = [0] * (blocks + 1)
        self._name: list[int | None] = [None] * (blocks + 1)
        self._copies: dict[int, list[int]] = {}
        self._events: list[CacheEvent] = []

    # --- looking -------------------------------------------------------------------------------------

    @property
    def used_blocks(self) -> int:
        """Blocks some sequence refers to."""
        return self.blocks - len(self._free)

    def longest_run(self, hashes: Iterable[int]) -> list[int]:
        """Physical blocks holding the longest prefix of ``hashes``; nothing is reserved."""
        run: list[int] = []
        for name in hashes:
            copies = self._copies.get(name)
            if copies is None:
                break
            run.append(copies[0])
        return run

    def fits(self, new_blocks: int, reused: Sequence[int] = ()) -> bool:
        """Whether ``new_blocks`` can be taken once the ``reused`` ones are reserved."""
        revived = sum(1 for block in reused if not self._references[block])
        return new_blocks + revived <= len(self._free)

    def resident(self) -> dict[int, int]:
        """Copies of each findable block: what the events of this pool add up to."""
        return {name: len(copies) for name, copies in self._copies.items()}

    # --- changing ------------------------------------------------------------------------------------

    def reserve(self, blocks: Iterable[int]) -> None:
        """Refer to blocks that hold content already."""
        for block in blocks:
            if not self._references[block]:
                del self._free[block]
            self._references[block] += 1

    def take(self, count: int) -> list[int]:
        """Hand out the ``count`` blocks unused for longest; what they held is gone. See ``fits``."""
        taken: list[int] = []
        for _ in range(count):
            block, _ = self._free.popitem(last=False)
            self._forget(block)
            self._references[block] = 1
            taken.append(block)
        return taken

    def release(self, blocks: Sequence[int]) -> None:
        """Stop referring to the blocks of a sequence, given in sequence order."""
        for block in reversed(blocks):
            self._references[block] -= 1
            if not self._references[block]:
                self._free[block] = None

    def store(
        self,
        run: Sequence[tuple[int, int]],
        parent: int | None,
        tokens: TokenIds,
        lora: tuple[str, int] | None = None,
        salt: str | None = None,
    ) -> None:
        """Make a run of ``(block, hash)`` findable; ``tokens`` are theirs, in order."""
        for block, name in run:
            self._name[block] = name
            self._copies.setdefault(name, []).append(block)
        lora_name, lora_id = lora or (None, None)
        self._events.append(
            Stored(
                hashes=tuple(name for _, name in run),
                parent=parent,
                tokens=tuple(tokens),
                block_tokens=self.block_tokens,
                lora=lora_name,
                lora_id=lora_id,
                salt=salt if parent is None else None,
            )
        )

    def clear(self) -> bool:
        """Forget all content; refused (False) while any block is in use."""
        if self.used_blocks:
            return False
        self._name = [None] * (self.blocks + 1)
        self._copies.clear()
        self._events.append(Cleared())
        return True

    def drain_events(self) -> list[CacheEvent]:
        """What happened since the last call, in order."""
        events, self._events = self._events, []
        return events

    def _forget(self, block: int) -> None:
        name = self._name[block]
        if name is None:
            return
        self._name[block] = None
        copies = self._copies[name]
        copies.remove(block)
        if not copies:
            del self._copies[name]
        self._events.append(Removed(name))
