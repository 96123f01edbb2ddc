"""One question to a router, packed for the call: ``epp_request`` and the buffers it is asked with."""

import struct
from array import array
from collections.abc import Iterable, Sequence
from typing import Final

from cabi import layout
from cabi._native import ffi, lib
from cabi.buffers import Buffer, view
from cabi.cdata import CData
from cabi.records import Policy
from cabi.status import ArgumentError, Status

_TOKEN_BYTES: Final = 4
_ASKED: Final = (
    "struct_size", "policy", "flags", "pin_rank", "prefill_pin_rank", "hash_block_tokens",
    "now_s", "seed", "booking", "lease_s", "namespace_seed", "expected_output_tokens",
    "pin_worker", "prefill_pin_worker",
)  # fmt: skip
_RULES: Final = layout.fields("epp_request")[len(_ASKED) :]
_ASKED_ROW: Final = layout.row("epp_request", _ASKED)
_RULES_ROW: Final = layout.row("epp_request", _RULES)
_SIZE: Final = ffi.sizeof("epp_request")
_REQUESTS: Final = ffi.typeof("epp_request[]")


def _defaults() -> dict[str, float]:
    made = ffi.new("epp_request *")
    lib.epp_request_init(made)
    return {name: getattr(made, name) for name in layout.fields("epp_request")}


def _packed(row: struct.Struct, values: Iterable[float]) -> bytes:
    try:
        return row.pack(*values)
    except struct.error as error:
        raise ArgumentError(Status.ARGUMENT) from error


_DEFAULTS: Final = _defaults()


class Rules:
    """What candidates are weighed by and limited to: the part of a question that many have in common."""

    __slots__ = ("packed",)

    def __init__(self, **fields: float) -> None:
        """``fields`` are those of ``epp_request`` from ``overlap_credit`` on, with the core's defaults.

        Raises ValueError for another name, ArgumentError for a number that its field cannot hold.
        """
        if unknown := fields.keys() - set(_RULES):
            raise ValueError(f"no rules of a request: {', '.join(sorted(unknown))}")
        self.packed = _packed(_RULES_ROW, [fields.get(name, _DEFAULTS[name]) for name in _RULES])


_USUAL: Final = Rules()


class Request:
    """A question, ready to be put."""

    __slots__ = ("arguments", "n_tokens", "reserves")

    def __init__(
        self,
        tokens: Buffer,
        *,
        flags: int,
        now_s: float,
        policy: Policy = Policy.KV,
        seed: int = 0,
        booking: int = 0,
        lease_s: float = _DEFAULTS["lease_s"],
        namespace_seed: int = int(_DEFAULTS["namespace_seed"]),
        expected_output_tokens: int = 0,
        pin_worker: int = 0,
        pin_rank: int = -1,
        prefill_pin_worker: int = 0,
        prefill_pin_rank: int = -1,
        rules: Rules = _USUAL,
        candidates: Sequence[int] | None = None,
        required_taints: Iterable[int] = (),
        preferred_taints: Iterable[tuple[int, float]] = (),
    ) -> None:
        """``epp.h`` says what is meant; ``candidates`` None: everybody.

        Raises ArgumentError for a number that its field cannot hold.
        """
        n_bytes = memoryview(tokens).nbytes
        if n_bytes % _TOKEN_BYTES:
            raise ValueError("tokens must be whole u32 values")
        if candidates is not None:
            flags |= lib.EPP_REQUEST_CANDIDATES
        head = (_SIZE, policy, flags, pin_rank, prefill_pin_rank, 0)
        tail = (namespace_seed, expected_output_tokens, pin_worker, prefill_pin_worker)
        asked = _packed(_ASKED_ROW, (*head, now_s, seed, booking, lease_s, *tail))
        taints = [(name, 0.0, 1, 0) for name in required_taints]
        taints += [(name, weight, 0, 0) for name, weight in preferred_taints]
        self.reserves = booking != 0
        self.n_tokens = n_bytes // _TOKEN_BYTES
        self.arguments: tuple[CData, ...] = (
            ffi.from_buffer(_REQUESTS, asked + rules.packed),
            view(tokens),
            self.n_tokens,
            ffi.from_buffer("uint64_t[]", array("Q", candidates)) if candidates else ffi.NULL,
            len(candidates or ()),
            ffi.new("epp_taint[]", taints) if taints else ffi.NULL,
            len(taints),
        )
