"""The core's structs as records."""

from collections.abc import Sequence
from typing import overload

from cabi import layout
from cabi._native import ffi
from cabi.cdata import CData
from cabi.records import IGNORED, LoadSample, PrefillDone, RankLoad, Report, Selection, Terms

_SELECTION = layout.row(
    "epp_selection",
    (
        "worker_id", "prefill_worker_id", "rank", "prefill_rank", "split", "block_tokens", "prompt_tokens",
        "cached_tokens", "best_cached_tokens", "uncached_tokens", "cost", "predicted_ttft_s",
    ),
)  # fmt: skip
_BY_REASON = sorted(range(len(IGNORED)), key=IGNORED.__getitem__)


def _load(c: CData) -> LoadSample:
    return LoadSample(c.waiting_requests, c.running_requests, c.kv_usage)


def _terms(c: CData) -> Terms:
    return Terms(
        worker_id=c.worker_id,
        rank=c.rank,
        phase=c.phase,
        device_blocks=c.device_blocks,
        host_blocks=c.host_blocks,
        disk_blocks=c.disk_blocks,
        request_blocks=c.request_blocks,
        cached_tokens=c.cached_tokens,
        uncached_tokens=c.uncached_tokens,
        active_prefill_tokens=c.active_prefill_tokens,
        potential_decode_blocks=c.potential_decode_blocks,
        active_requests=c.active_requests,
        load=_load(c.load),
        prefill_tokens_per_s=c.prefill_tokens_per_s,
        predicted_ttft_s=c.predicted_ttft_s,
        cost=c.cost,
    )


class TermsRows(Sequence[Terms]):
    """Rows of ``epp_terms`` as the core wrote them, each made a record only when it is asked for: most
    explanations are kept and never read.
    """

    __slots__ = ("_bytes", "_count")

    def __init__(self, rows: CData, count: int) -> None:
        self._bytes: bytes = ffi.buffer(rows, count * _TERMS_BYTES)[:] if count else b""
        self._count = count

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> Terms: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Terms]: ...
    def __getitem__(self, index: int | slice) -> Terms | Sequence[Terms]:
        rows = ffi.from_buffer("epp_terms[]", self._bytes)
        if isinstance(index, slice):
            return tuple(_terms(rows[i]) for i in range(self._count)[index])
        return _terms(rows[range(self._count)[index]])


_TERMS_BYTES: int = ffi.sizeof("epp_terms")


def terms(rows: CData, count: int) -> tuple[Terms, ...]:
    """``count`` rows of ``epp_terms``."""
    return tuple(_terms(rows[i]) for i in range(count))


def selection(c: CData, rows: CData, count: int) -> Selection:
    """``epp_selection`` with its rows."""
    worker, prefill, rank, prefill_rank, split, *numbers = _SELECTION.unpack(ffi.buffer(c))
    pair = (prefill, prefill_rank) if split else None
    return Selection._make((worker, rank, pair, *numbers, TermsRows(rows, count)))


def prefill_done(c: CData) -> PrefillDone:
    """``epp_prefill_done``."""
    return PrefillDone(c.booking, c.at_s, c.reserved_at_s, bool(c.exact))


def report(c: CData, done: tuple[CData, int], decode: tuple[CData, int]) -> Report:
    """``epp_report`` with facts: arrays and how many of each."""
    counts: list[int] = ffi.unpack(c.ignored, len(IGNORED))
    return Report(
        stored_blocks=c.stored_blocks,
        removed_blocks=c.removed_blocks,
        cleared=c.cleared,
        ignored=tuple((IGNORED[i], counts[i]) for i in _BY_REASON if counts[i]),
        block_tokens=c.block_tokens,
        prefill_done=tuple(prefill_done(done[0][i]) for i in range(done[1])),
        decode_blocks=tuple((decode[0][i].booking, decode[0][i].output_blocks) for i in range(decode[1])),
    )


def rank_load(c: CData) -> RankLoad:
    """``epp_rank_load``."""
    return RankLoad(
        worker_id=c.worker_id,
        rank=c.rank,
        active_requests=c.active_requests,
        active_prefill_tokens=c.active_prefill_tokens,
        active_decode_blocks=c.active_decode_blocks,
        resident_blocks=c.resident_blocks,
        prefill_tokens_per_s=c.prefill_tokens_per_s,
        scraped=_load(c.scraped),
    )
