"""The ``/metrics`` page, with vLLM's names and about its size, rendered without walking a registry.

A histogram renders itself once per change; what never changes is text from the start. So an idle engine's
page costs one join, and many engines can be scraped often on a small machine.
"""

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TypeAlias

from epp.testing.engine.config import EngineConfig
from epp.testing.engine.sim import EngineCounters, SimEngine

Family: TypeAlias = tuple[str, str]
"""HELP and TYPE lines, and samples."""

_SECONDS = (
    0.001,
    0.005,
    0.01,
    0.02,
    0.04,
    0.06,
    0.08,
    0.1,
    0.25,
    0.5,
    0.75,
    1.0,
    2.5,
    5.0,
    7.5,
    10.0,
    20.0,
    40.0,
    80.0,
    160.0,
    640.0,
    2560.0,
)
_LONG_SECONDS = (
    0.3,
    0.5,
    0.8,
    1.0,
    1.5,
    2.0,
    2.5,
    5.0,
    10.0,
    15.0,
    20.0,
    30.0,
    40.0,
    50.0,
    60.0,
    120.0,
    240.0,
    480.0,
    960.0,
    1920.0,
    7680.0,
)
_TOKENS = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0, 5000.0, 10000.0)
_BYTES = tuple(float(1 << power) for power in range(8, 30, 2))

_QUIET = (
    ("request_queue_time_seconds", _LONG_SECONDS),
    ("request_inference_time_seconds", _LONG_SECONDS),
    ("request_prefill_time_seconds", _LONG_SECONDS),
    ("request_decode_time_seconds", _LONG_SECONDS),
    ("request_time_per_output_token_seconds", _SECONDS),
    ("request_max_num_generation_tokens", _TOKENS),
    ("request_prefill_kv_computed_tokens", _TOKENS),
    ("request_params_n", _TOKENS),
    ("request_params_max_tokens", _TOKENS),
    ("kv_block_lifetime_seconds", _LONG_SECONDS),
    ("kv_block_idle_before_evict_seconds", _LONG_SECONDS),
    ("kv_block_reuse_gap_seconds", _LONG_SECONDS),
    ("engine_step_duration_seconds", _SECONDS),
    ("nixl_xfer_time_seconds", _SECONDS),
    ("nixl_post_time_seconds", _SECONDS),
    ("nixl_bytes_transferred", _BYTES),
    ("nixl_num_descriptors", _TOKENS),
)
_COUNTERS = (
    ("prefix_cache_queries", "Prefix cache queries, in tokens.", "prefix_queries"),
    ("prefix_cache_hits", "Prefix cache hits, in tokens.", "prefix_hits"),
    ("external_prefix_cache_queries", "External prefix cache queries, in tokens.", "external_queries"),
    ("external_prefix_cache_hits", "External prefix cache hits, in tokens.", "external_hits"),
    ("num_preemptions", "Cumulative number of preemptions.", "preemptions"),
    ("prompt_tokens", "Number of prefill tokens processed.", "prompt"),
    ("generation_tokens", "Number of generation tokens processed.", "generated"),
)


class Histogram:
    """A Prometheus histogram with fixed labels."""

    def __init__(self, name: str, help_text: str, labels: str, bounds: Sequence[float]) -> None:
        self.head = f"# HELP {name} {help_text}\n# TYPE {name} histogram\n"
        self._bounds = bounds
        edges = (*(str(bound) for bound in bounds), "+Inf")
        self._lines = [f'{name}_bucket{{{labels},le="{edge}"}} ' for edge in edges]
        self._tails = (f"{name}_count{{{labels}}} ", f"{name}_sum{{{labels}}} ")
        self._counts = [0] * len(edges)
        self._sum = 0.0
        self._text: str | None = None

    def observe(self, value: float) -> None:
        """Count one value."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value
        self._text = None

    def render(self) -> str:
        """Samples as exposition text, remembered until the next value."""
        if self._text is None:
            totals = list(accumulate(self._counts))
            lines = [f"{line}{total}\n" for line, total in zip(self._lines, totals, strict=True)]
            count, total_sum = self._tails
            self._text = f"{''.join(lines)}{count}{totals[-1]}\n{total_sum}{self._sum}\n"
        return self._text


@dataclass(frozen=True, slots=True)
class Finished:
    """One finished request, as its histograms see it; seconds and tokens."""

    e2e_s: float
    ttft_s: float
    prompt_tokens: int
    generated_tokens: int


class RankMetrics:
    """Histograms and the page section of one rank."""

    def __init__(self, config: EngineConfig, rank: int) -> None:
        self._labels = f'engine="{rank}",model_name="{config.model}"'
        self._max_lora = max(1, len(config.loras))

        def seconds(name: str, text: str, bounds: Sequence[float] = _SECONDS) -> Histogram:
            return Histogram(f"vllm:{name}", text, self._labels, bounds)

        self.ttft = seconds("time_to_first_token_seconds", "Histogram of time to first token in seconds.")
        self.inter_token = seconds(
            "inter_token_latency_seconds", "Histogram of inter-token latency in seconds."
        )
        self.e2e = seconds(
            "e2e_request_latency_seconds", "Histogram of e2e request latency in seconds.", _LONG_SECONDS
        )
        self.prompt = seconds("request_prompt_tokens", "Number of prefill tokens processed.", _TOKENS)
        self.generation = seconds(
            "request_generation_tokens", "Number of generation tokens processed.", _TOKENS
        )
        self.iteration = seconds("iteration_tokens_total", "Histogram of tokens per engine step.", _TOKENS)
        # Present on a real page, not simulated: they stay at zero and cost nothing after the first page.
        self._quiet = [seconds(name, "Not simulated; always zero.", bounds) for name, bounds in _QUIET]
        capacity_tokens = config.usable_blocks * config.block_tokens
        cache_labels = (
            f'block_size="{config.block_tokens}",cache_dtype="auto",enable_prefix_caching="True",engine="{rank}",'
            f'gpu_memory_utilization="0.9",kv_cache_size_tokens="{capacity_tokens}",'
            f'num_gpu_blocks="{config.total_blocks}",prefix_caching_hash_algo="xxh3"'
        )
        self._info = _family(
            "cache_config_info", "Information of the LLMEngine CacheConfig", "gauge", [(cache_labels, 1.0)]
        )

    def finished(self, request: Finished) -> None:
        """Count one finished request."""
        self.e2e.observe(request.e2e_s)
        self.prompt.observe(request.prompt_tokens)
        self.generation.observe(request.generated_tokens)
        if request.generated_tokens > 1:
            decode_s = request.e2e_s - request.ttft_s
            self.inter_token.observe(decode_s / (request.generated_tokens - 1))

    def families(self, engine: SimEngine, unix_s: float) -> list[Family]:
        """Heads and samples of this rank, the same heads in the same order for every rank; ``unix_s`` dates
        the LoRA series as vLLM does."""
        live = (self.ttft, self.inter_token, self.e2e, self.prompt, self.generation, self.iteration)
        histograms = ((histogram.head, histogram.render()) for histogram in (*live, *self._quiet))
        return [*self._gauges(engine, unix_s), *self._counters(engine.counters), *histograms]

    def _gauges(self, engine: SimEngine, unix_s: float) -> list[Family]:
        running, waiting = (",".join(sorted(names)) for names in engine.adapters())
        lora = (
            f'max_lora="{self._max_lora}",running_lora_adapters="{running}",waiting_lora_adapters="{waiting}"'
        )
        one = self._one
        return [
            one("num_requests_running", "Number of requests in model execution batches.", engine.running),
            one("num_requests_waiting", "Number of requests waiting to be processed.", engine.waiting),
            one("kv_cache_usage_perc", "KV-cache usage. 1 means 100 percent usage.", engine.kv_usage),
            self._info,
            _family("lora_requests_info", "Running stats on lora requests.", "gauge", [(lora, unix_s)]),
        ]

    def _counters(self, counters: EngineCounters) -> list[Family]:
        sources = {
            "local_compute": counters.computed_prompt,
            "local_cache_hit": counters.prefix_hits,
            "external_kv_transfer": counters.external_hits,
        }
        reasons = dict.fromkeys(("stop", "length", "abort", "error"), 0) | counters.finished
        return [
            self._one(f"{name}_total", text, getattr(counters, attribute), "counter")
            for name, text, attribute in _COUNTERS
        ] + [
            self._split("prompt_tokens_by_source_total", "Prompt tokens by source.", "source", sources),
            self._split("request_success_total", "Finished requests.", "finished_reason", reasons),
        ]

    def _one(self, name: str, text: str, value: float, kind: str = "gauge") -> Family:
        return _family(name, text, kind, [(self._labels, value)])

    def _split(self, name: str, text: str, label: str, values: Mapping[str, int]) -> Family:
        samples = ((f'{self._labels},{label}="{key}"', value) for key, value in values.items())
        return _family(name, text, "counter", samples)


def _family(name: str, text: str, kind: str, samples: Iterable[tuple[str, float]]) -> Family:
    full = f"vllm:{name}"
    head = f"# HELP {full} {text}\n# TYPE {full} {kind}\n"
    return head, "".join(f"{full}{{{labels}}} {value}\n" for labels, value in samples)


def render_page(ranks: Sequence[tuple[RankMetrics, SimEngine]], unix_s: float) -> str:
    """The page of one engine process: each family once, with the samples of every rank."""
    columns = [metrics.families(engine, unix_s) for metrics, engine in ranks]
    return "".join(
        families[0][0] + "".join(samples for _, samples in families)
        for families in zip(*columns, strict=True)
    )
