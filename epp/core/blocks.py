"""Block identity: how tokens become the 64-bit names that prompts and resident blocks share.

Bit for bit the hashing of NVIDIA Dynamo (1.x), so that its events, services and vectors agree with ours
(``docs/algorithms.md`` section 1, vectors in ``tests/golden/hashes``). Engines hash blocks in their own
ways; those hashes are only names and never appear here.

Tokens are flat little-endian u32 buffers throughout, as they come from the tokenizer and the wire.
"""

import struct
from collections.abc import Sequence
from typing import TypeAlias

from xxhash import xxh3_64_intdigest

Buffer: TypeAlias = bytes | memoryview

TOKEN_BYTES = 4
BASE_SEED = 1337

_U64 = (1 << 64) - 1
_JSON_SAFE = (1 << 53) - 1
_MM_PAD_BASE = 1_000_000
_MM_PAD_MASK = (1 << 30) - 1
_MM_DIGEST_DIGITS = 64
_HEX_DIGITS = frozenset("0123456789abcdefABCDEF")
_pack_link = struct.Struct("<QQ").pack


def namespace_seed(lora: str = "", salt: str = "") -> int:
    """The seed of local hashes for a LoRA adapter and a cache salt; equal tokens under different seeds
    are different blocks. An empty string is the same as none."""
    seed = BASE_SEED
    if lora:
        seed += xxh3_64_intdigest(lora.encode(), 0)
    if salt:
        seed += xxh3_64_intdigest(salt.encode(), 1)
    return seed & _U64


def local_hashes(
    tokens: Buffer,
    block_tokens: int,
    seed: int = BASE_SEED,
    mm_hashes: Sequence[Sequence[int]] = (),
) -> list[int]:
    """Hash of each full block by itself; a partial last block has none.

    ``mm_hashes`` gives, per block, the hashes of the multimodal items in it, in any order.
    """
    return _windows(tokens, block_tokens, block_tokens, seed, mm_hashes)


def eagle_local_hashes(tokens: Buffer, block_tokens: int, seed: int = BASE_SEED) -> list[int]:
    """As :func:`local_hashes` for EAGLE drafts, whose blocks see one token into the next."""
    return _windows(tokens, block_tokens, block_tokens + 1, seed, ())


def sequence_hashes(local: Sequence[int], parent: int | None = None) -> list[int]:
    """Hash of each block together with everything before it: the identity the index and ledger use.

    ``parent`` is the sequence hash of the block before the first; None: the first one is the root.
    """
    chain: list[int] = []
    for value in local:
        parent = value if parent is None else xxh3_64_intdigest(_pack_link(parent, value), BASE_SEED)
        chain.append(parent)
    return chain


def prompt_hashes(tokens: Buffer, block_tokens: int, seed: int = BASE_SEED) -> list[int]:
    """Sequence hashes of a prompt's full blocks."""
    return sequence_hashes(local_hashes(tokens, block_tokens, seed))


def mm_pad_token(mm_hash: int) -> int:
    """The token id that stands for each placeholder of an image with this hash."""
    return _MM_PAD_BASE + (mm_hash & _MM_PAD_MASK)


def mm_hash_of(identifier: str) -> int | None:
    """The u64 of a multimodal item's identifier: a SHA-256 digest in hex gives its first 16 digits,
    anything else is hashed, the empty string has none."""
    if not identifier:
        return None
    if len(identifier) == _MM_DIGEST_DIGITS and frozenset(identifier) <= _HEX_DIGITS:
        return int(identifier[:16], 16)
    return xxh3_64_intdigest(identifier.encode(), 0)


def worker_id_of(namespace: str, name: str) -> int:
    """The worker id of an endpoint that was given none; exact as a JSON number (below 2^53)."""
    return xxh3_64_intdigest(f"{namespace}/{name}".encode(), BASE_SEED) & _JSON_SAFE


def _windows(
    tokens: Buffer, stride: int, width: int, seed: int, mm_hashes: Sequence[Sequence[int]]
) -> list[int]:
    view = memoryview(tokens).cast("B")
    count = max(0, (len(view) // TOKEN_BYTES - (width - stride)) // stride)
    starts = range(0, count * stride * TOKEN_BYTES, stride * TOKEN_BYTES)
    blocks = [view[at : at + width * TOKEN_BYTES] for at in starts]
    if not mm_hashes:
        return [xxh3_64_intdigest(block, seed) for block in blocks]
    if len(mm_hashes) != count:
        raise ValueError(f"mm_hashes describes {len(mm_hashes)} blocks of {count}")
    return [
        xxh3_64_intdigest(bytes(block) + struct.pack(f"<{len(items)}Q", *sorted(items)), seed)
        for block, items in zip(blocks, mm_hashes, strict=True)
    ]
