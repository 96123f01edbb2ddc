"""The native core: one header (``include/epp.h``), one C library, and its typed Python face.

Importing fails with ImportError when the library that was built speaks another ABI than this face.
"""

from cabi._native import lib as _lib
from cabi.events import EventBatch
from cabi.hashing import hash_blocks, namespace_seed, worker_id, xxh3_64
from cabi.question import Request, Rules
from cabi.records import Ask, Options, Worker
from cabi.router import Router
from cabi.status import CoreError, Status

ABI_VERSION = 1

if _lib.epp_abi_version() != ABI_VERSION:
    raise ImportError(f"cabi is built for ABI {_lib.epp_abi_version()}, its Python face is for {ABI_VERSION}")

__all__ = [
    "ABI_VERSION",
    "Ask",
    "CoreError",
    "EventBatch",
    "Options",
    "Request",
    "Router",
    "Rules",
    "Status",
    "Worker",
    "hash_blocks",
    "namespace_seed",
    "worker_id",
    "xxh3_64",
]
