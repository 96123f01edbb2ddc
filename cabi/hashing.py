"""Pure functions: XXH3-64 and the identity of blocks and workers."""

from array import array
from collections.abc import Sequence

from cabi._native import ffi, lib
from cabi.buffers import Buffer, view
from cabi.status import ArgumentError, Status, check

_TOKEN_BYTES = 4


def xxh3_64(data: Buffer, seed: int = 0) -> int:
    """XXH3-64 of some bytes."""
    return lib.epp_xxh3_64(view(data), memoryview(data).nbytes, seed)


def worker_id(name: str) -> int:
    """The id of a worker that was given none, below 2^53."""
    text = name.encode()
    return lib.epp_worker_id(text, len(text))


def namespace_seed(lora: str = "", salt: str = "") -> int:
    """The seed that block hashes of a LoRA adapter and a cache salt start from."""
    adapter, secret = lora.encode(), salt.encode()
    return lib.epp_namespace_seed(adapter, len(adapter), secret, len(secret))


def hash_blocks(
    tokens: Buffer,
    block_tokens: int,
    seed: int,
    *,
    mm_hashes: Sequence[Sequence[int]] = (),
    eagle: bool = False,
) -> "tuple[array[int], array[int]]":
    """Local and sequence hashes (arrays of u64) of a prompt's full blocks.

    ``tokens`` holds little-endian u32 ids. ``mm_hashes`` gives, per block, the hashes of the multimodal
    items in it; empty: none anywhere. Raises ArgumentError.
    """
    flags = lib.EPP_HASH_EAGLE if eagle else 0
    n_bytes = memoryview(tokens).nbytes
    count = lib.epp_hash_blocks_bound(n_bytes // _TOKEN_BYTES, block_tokens, flags)
    if n_bytes % _TOKEN_BYTES or (mm_hashes and len(mm_hashes) != count):
        raise ArgumentError(Status.ARGUMENT)
    local, chain = array("Q", bytes(8 * count)), array("Q", bytes(8 * count))
    counts = array("I", map(len, mm_hashes))
    flat = array("Q", (item for block in mm_hashes for item in block))
    check(
        lib.epp_hash_blocks(
            view(tokens),
            n_bytes // _TOKEN_BYTES,
            block_tokens,
            seed,
            flags,
            ffi.from_buffer("uint32_t[]", counts) if mm_hashes else ffi.NULL,
            ffi.from_buffer("uint64_t[]", flat),
            len(flat),
            ffi.from_buffer("uint64_t[]", local),
            ffi.from_buffer("uint64_t[]", chain),
        )
    )
    return local, chain
