"""What each model server calls the few figures a picker reads, and a page turned into those figures.

The names are those of the model-server protocol that gateways share (Gateway API Inference Extension,
proposal 003) and of the servers' own pages. Everything is data: a new server is a new row of ``TABLE``.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from epp.core.endpoints import EngineKind
from epp.core.router import LoadSample
from epp.wire.promtext import Series, find

_MAX_COUNT: Final = 1 << 53
"""Counts beyond what a float holds exactly are nonsense."""
_MAX_DIGITS: Final = 15


@dataclass(frozen=True, slots=True)
class Selector:
    """Which series of a page holds a figure."""

    metric: str
    only: tuple[str, str] | None = None
    """A (label, value) the series must have."""
    value_label: str | None = None
    """The figure is this label's text; None: the series' value."""


@dataclass(frozen=True, slots=True)
class EngineMetrics:
    """One model server's names; None: it does not publish the figure."""

    waiting: Selector
    running: Selector
    kv_usage: Selector | None = None
    """Fraction of KV blocks in use, 0..1."""
    block_tokens: Selector | None = None
    total_blocks: Selector | None = None
    lora: str | None = None
    """Metric with the labels ``max_lora``, ``running_lora_adapters``, ``waiting_lora_adapters``; its value
    is a time, and label sets of the past stay on the page, so the newest counts."""
    rank_label: str | None = None
    """Label that names the data-parallel rank; None: the figures are the whole worker's."""
    sums: bool = False
    """Several series of one rank are parts of a whole (Triton: one per model). False: copies of one
    figure (one per tensor-parallel rank), of which the largest counts."""


def _triton_trtllm(metric: str, label: str, value: str) -> Selector:
    return Selector(f"nv_trt_llm_{metric}", (label, value))


TABLE: Final[Mapping[EngineKind, EngineMetrics]] = MappingProxyType(
    {
        EngineKind.VLLM: EngineMetrics(
            waiting=Selector("vllm:num_requests_waiting"),
            running=Selector("vllm:num_requests_running"),
            kv_usage=Selector("vllm:kv_cache_usage_perc"),
            block_tokens=Selector("vllm:cache_config_info", value_label="block_size"),
            total_blocks=Selector("vllm:cache_config_info", value_label="num_gpu_blocks"),
            lora="vllm:lora_requests_info",
            rank_label="engine",
        ),
        EngineKind.SGLANG: EngineMetrics(
            waiting=Selector("sglang:num_queue_reqs"),
            running=Selector("sglang:num_running_reqs"),
            kv_usage=Selector("sglang:token_usage"),
            block_tokens=Selector("sglang:cache_config_info", value_label="page_size"),
            total_blocks=Selector("sglang:cache_config_info", value_label="num_pages"),
            rank_label="dp_rank",
        ),
        EngineKind.TRTLLM: EngineMetrics(
            waiting=Selector("trtllm_num_requests_waiting"),
            running=Selector("trtllm_num_requests_running"),
            kv_usage=Selector("trtllm_kv_cache_utilization"),
            block_tokens=Selector("trtllm_kv_cache_tokens_per_block"),
            total_blocks=Selector("trtllm_kv_cache_max_blocks"),
        ),
        EngineKind.TRITON_TRTLLM: EngineMetrics(
            waiting=_triton_trtllm("request_metrics", "request_type", "waiting"),
            running=_triton_trtllm("request_metrics", "request_type", "scheduled"),
            kv_usage=_triton_trtllm("kv_cache_block_metrics", "kv_cache_block_type", "fraction"),
            block_tokens=_triton_trtllm("kv_cache_block_metrics", "kv_cache_block_type", "tokens_per"),
            total_blocks=_triton_trtllm("kv_cache_block_metrics", "kv_cache_block_type", "max"),
        ),
        EngineKind.TRITON: EngineMetrics(
            waiting=Selector("nv_inference_pending_request_count"),
            running=Selector("nv_inference_exec_count"),
            sums=True,
        ),
    }
)


@dataclass(frozen=True, slots=True)
class LoraFacts:
    """Adapters a worker lists."""

    running: frozenset[str] = frozenset()
    waiting: frozenset[str] = frozenset()
    max_loras: int = 0
    """Adapters that fit in one batch; 0: unknown."""


@dataclass(frozen=True, slots=True)
class WorkerFacts:
    """What a page says of a worker besides its load; zeros mean unknown."""

    block_tokens: int = 0
    total_blocks: int = 0
    """KV capacity of one rank, in blocks."""
    lora: LoraFacts = LoraFacts()


@dataclass(frozen=True, slots=True)
class PageFacts:
    """One page, read."""

    loads: Mapping[int, LoadSample] = field(default_factory=dict[int, LoadSample])
    """Per rank below ``dp_size``; empty: the page has none of the load figures."""
    worker: WorkerFacts = WorkerFacts()


class PageReader:
    """Reads the pages of one worker; it remembers where on the page each metric stood."""

    def __init__(self, engine: EngineKind, dp_size: int = 1) -> None:
        self._names = TABLE[engine]
        self._dp_size = dp_size
        self._positions: dict[str, int] = {}

    def read(self, page: bytes) -> PageFacts:
        """Load per rank and facts of one page. Never raises."""
        names = self._names
        waiting = self._per_rank(page, names.waiting)
        running = self._per_rank(page, names.running)
        usage = self._per_rank(page, names.kv_usage)
        loads = {
            rank: LoadSample(
                waiting_requests=_count(waiting.get(rank, 0.0)),
                running_requests=_count(running.get(rank, 0.0)),
                kv_usage=min(max(usage.get(rank, 0.0), 0.0), 1.0),
            )
            for rank in waiting.keys() | running.keys()
        }
        return PageFacts(loads, self._worker_facts(page))

    def _worker_facts(self, page: bytes) -> WorkerFacts:
        return WorkerFacts(
            block_tokens=self._fact(page, self._names.block_tokens),
            total_blocks=self._fact(page, self._names.total_blocks),
            lora=_lora_facts(self._series(page, self._names.lora)) if self._names.lora else LoraFacts(),
        )

    def _fact(self, page: bytes, selector: Selector | None) -> int:
        """A figure every rank has alike; ranks that differ are held to the least."""
        return min((_count(figure) for figure in self._per_rank(page, selector).values()), default=0)

    def _per_rank(self, page: bytes, selector: Selector | None) -> dict[int, float]:
        figures: dict[int, float] = {}
        if selector is None:
            return figures
        for series in self._series(page, selector.metric):
            rank = _rank_of(series, self._names.rank_label, self._dp_size)
            figure = _figure(series, selector)
            if figure is None or rank >= self._dp_size:
                continue
            before = figures.get(rank, 0.0)
            figures[rank] = before + figure if self._names.sums else max(before, figure)
        return figures

    def _series(self, page: bytes, metric: str) -> tuple[Series, ...]:
        group = find(page, metric, self._positions.get(metric, 0))
        self._positions[metric] = group.position
        return group.series


def _rank_of(series: Series, label: str | None, dp_size: int) -> int:
    """The rank a series is about. A worker of one rank may carry its number in a larger deployment."""
    return _number(series.labels.get(label, "")) or 0 if label is not None and dp_size > 1 else 0


def _figure(series: Series, selector: Selector) -> float | None:
    """The selected figure; None: the series is another one, or what it says is no figure."""
    if selector.only is not None and series.labels.get(selector.only[0]) != selector.only[1]:
        return None
    if selector.value_label is not None:
        return _number(series.labels.get(selector.value_label, ""))
    return series.value if math.isfinite(series.value) else None


def _count(figure: float) -> int:
    return int(min(max(figure, 0.0), _MAX_COUNT))


def _number(text: str) -> int | None:
    """A label's decimal digits; None: something else (vLLM writes ``None`` until it has profiled)."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS else None


def _lora_facts(series: tuple[Series, ...]) -> LoraFacts:
    newest = max(series, key=lambda one: one.value, default=None)
    if newest is None:
        return LoraFacts()
    return LoraFacts(
        running=_adapters(newest.labels.get("running_lora_adapters", "")),
        waiting=_adapters(newest.labels.get("waiting_lora_adapters", "")),
        max_loras=_number(newest.labels.get("max_lora", "")) or 0,
    )


def _adapters(text: str) -> frozenset[str]:
    return frozenset(name.strip() for name in text.split(",") if name.strip())
