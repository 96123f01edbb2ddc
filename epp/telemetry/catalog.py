"""Every metric, declared once: name, help, labels, buckets.

Names under ``llm_d_epp_`` and ``dynamo_`` are those that dashboards for llm-d's router and for Dynamo
already read; where their meaning exists here, it is the same here. Names under ``epp_`` are ours.
Buckets follow the catalogue of llm-d's router, including its ``32778`` bound.
"""

from prometheus_client import CollectorRegistry

from epp.telemetry.declaring import Declarations, Family

_LATENCY_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1, 1.25, 1.5, 2, 3, 4, 5, 6, 8, 10, 15, 20,
              30, 45, 60, 120, 300, 600, 1800, 3600)  # fmt: skip
_TTFT_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1, 1.5, 2, 3, 5, 8, 10, 20, 30, 60, 120)
_PICK_S = (0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1)
_PROCESSING_S = (0.0001, 0.00025, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5,
                 10)  # fmt: skip
_NTPOT_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
_TOKENS = (1, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32778, 65536, 131072, 262144,
           524288, 1048576)  # fmt: skip
_OUTPUT_TOKENS = (1, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192)
_BODY_BYTES = tuple(float(2**n) for n in range(6, 31, 2))
_RATIO = tuple(n / 10 for n in range(11))
_DYNAMO_CACHED_TOKENS = (50, 102, 208, 424, 864, 1761, 3589, 7316, 14912, 30396, 61958, 128000)

_MODEL = ("model_name", "target_model_name")
_MODEL_FLOW = (*_MODEL, "fairness_id", "priority")


class Catalog:
    """All metric families over one registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        self._make = Declarations(registry)
        self._requests()
        self._picks()
        self._door()
        self._workers()
        self._tokens()

    @property
    def families(self) -> tuple[Family, ...]:
        """Everything declared here, in order."""
        return tuple(self._make.made)

    def _requests(self) -> None:
        make = self._make
        self.request_total = make.counter(
            "llm_d_epp_request",
            "Requests a worker was picked for.",
            _MODEL_FLOW,
        )
        self.request_error_total = make.counter(
            "llm_d_epp_request_error",
            "Requests refused or failed, by HTTP status or cause.",
            (*_MODEL_FLOW, "error_code"),
        )
        self.request_running = make.gauge(
            "llm_d_epp_request_running",
            "Requests in flight: picked and their stream not ended.",
            _MODEL_FLOW,
        )
        self.request_duration_s = make.histogram(
            "llm_d_epp_request_duration_seconds",
            "From the asking of the pick to the end of the stream.",
            _MODEL_FLOW,
            buckets=_LATENCY_S,
        )
        self.request_size_bytes = make.histogram(
            "llm_d_epp_request_size_bytes",
            "Size of request bodies.",
            _MODEL_FLOW,
            buckets=_BODY_BYTES,
        )
        self.request_input_tokens = make.histogram(
            "llm_d_epp_request_input_tokens",
            "Prompt tokens.",
            _MODEL_FLOW,
            buckets=_TOKENS,
        )
        self.request_output_tokens = make.histogram(
            "llm_d_epp_request_output_tokens",
            "Completion tokens, from response bodies the picker reads.",
            _MODEL_FLOW,
            buckets=_OUTPUT_TOKENS,
        )
        self.request_cached_tokens = make.histogram(
            "llm_d_epp_request_cached_tokens",
            "Prompt tokens resident on the chosen worker at the pick.",
            _MODEL_FLOW,
            buckets=_TOKENS,
        )
        self.request_ntpot_s = make.histogram(
            "llm_d_epp_request_ntpot_seconds",
            "Duration of a request per completion token, from response bodies the picker reads.",
            _MODEL_FLOW,
            buckets=_NTPOT_S,
        )
        self.request_ttft_s = make.histogram(
            "llm_d_epp_request_ttft_seconds",
            "Time to first token, from the asking of the pick to the event that stored the last full block "
            "of the prompt; requests whose prompt was resident have no such event and are not in it.",
            (*_MODEL_FLOW, "streaming"),
            buckets=_TTFT_S,
        )
        self.response_size_bytes = make.histogram(
            "llm_d_epp_response_size_bytes",
            "Size of response bodies that came to the picker.",
            _MODEL_FLOW,
            buckets=_BODY_BYTES,
        )

    def _picks(self) -> None:
        make = self._make
        self.scheduler_e2e_s = make.histogram(
            "llm_d_epp_scheduler_e2e_duration_seconds",
            "Hashing, matching, costing, choosing and booking.",
            buckets=_PICK_S,
        )
        self.scheduler_attempts_total = make.counter(
            "llm_d_epp_scheduler_attempts",
            "Picks by outcome and endpoint.",
            ("status", "target_model_name", "endpoint_name", "namespace", "port"),
        )
        self.processing_s = make.histogram(
            "llm_d_epp_request_processing_duration_seconds",
            "The picker's whole part of a request: last body byte in to answer out.",
            buckets=_PROCESSING_S,
        )
        self.prefix_hit_ratio = make.histogram(
            "llm_d_epp_prefix_indexer_hit_ratio",
            "Resident share of the prompt on the chosen worker.",
            buckets=_RATIO,
        )
        self.disagg_total = make.counter(
            "llm_d_epp_disagg_decision",
            "Picks by whether prefill and decode were split.",
            ("decision_type",),
        )
        self.dynamo_started_total = make.counter(
            "dynamo_component_router_requests_started",
            "Requests a worker was picked for.",
            ("model",),
        )
        self.dynamo_input_tokens = make.histogram(
            "dynamo_component_router_input_sequence_tokens",
            "Prompt tokens.",
            ("model",),
            buckets=_TOKENS,
        )
        self.dynamo_cached_tokens = make.histogram(
            "dynamo_epp_cached_tokens",
            "Prompt tokens resident on the chosen worker at the pick.",
            ("model",),
            buckets=_DYNAMO_CACHED_TOKENS,
        )
        self.best_cached_tokens_total = make.counter(
            "dynamo_component_router_kv_best_eligible_cached_prefix_tokens",
            "Resident tokens the best eligible worker had, summed over picks.",
        )
        self.selected_cached_tokens_total = make.counter(
            "dynamo_component_router_kv_selected_cached_prefix_tokens",
            "Resident tokens the chosen worker had, summed over picks.",
        )
        self.non_max_overlap_total = make.counter(
            "dynamo_component_router_non_max_overlap_selections",
            "Picks where another eligible worker had more of the prompt resident.",
        )
        self.prompt_tokens_total = make.counter(
            "epp_prompt_tokens",
            "Prompt tokens of picked requests: the base of the hit rate.",
        )
        self.prefill_s = make.histogram(
            "epp_prefill_duration_seconds",
            "From the pick to prompt computed, by source of the knowledge.",
            ("source",),
            buckets=_TTFT_S,
        )
        self.output_blocks_total = make.counter(
            "epp_output_blocks",
            "Blocks of output seen in event streams.",
        )
        self.expired_total = make.counter(
            "epp_bookings_expired",
            "Bookings whose lease ended before their stream did.",
        )

    def _door(self) -> None:
        make = self._make
        self.streams_inflight = make.gauge("llm_d_epp_extproc_streams_inflight", "Open ext_proc streams.")
        self.streams_total = make.counter(
            "llm_d_epp_extproc_streams",
            "ext_proc streams ended.",
        )
        self.immediate_total = make.counter(
            "epp_immediate_responses",
            "Requests the picker answered itself.",
            ("status", "reason"),
        )
        self.requests_finished_total = make.counter(
            "epp_extproc_requests_finished",
            "Steered requests ended, by how their stream ended.",
            ("ending",),
        )
        self.pick_failures_total = make.counter(
            "epp_pick_failures",
            "Picks that raised: a defect of this picker.",
        )
        self.protocol_errors_total = make.counter(
            "epp_extproc_protocol_errors",
            "ext_proc messages out of order or malformed.",
            ("kind",),
        )
        self.served_mismatch_total = make.counter(
            "epp_served_endpoint_mismatch",
            "Responses served by another endpoint than the one picked.",
        )
        self.models_restored_total = make.counter(
            "epp_model_names_restored",
            "Answers to requests that were given another model: whether the client's name of it was put back "
            "(restored), or why not (absent, encoded, other-type, unseen).",
            ("outcome",),
        )
        self.header_errors_total = make.counter(
            "epp_request_header_errors",
            "Routing headers ignored because their value cannot be read.",
            ("header", "reason"),
        )

    def _workers(self) -> None:
        make = self._make
        self.events_total = make.counter(
            "dynamo_component_kv_cache_events_applied",
            "KV-cache blocks applied or ignored, by kind.",
            ("status", "event_type"),
        )
        self.event_messages_total = make.counter(
            "epp_kv_event_messages",
            "KV event messages applied, live or replayed.",
            ("source",),
        )
        self.event_replays_total = make.counter(
            "epp_kv_event_replays",
            "Replays of a worker's events: why they were asked, how they ended.",
            ("why", "outcome"),
        )
        self.event_views_dropped_total = make.counter(
            "epp_kv_event_views_dropped",
            "Times a rank's view was dropped because it could no longer be trusted.",
            ("reason",),
        )
        self.event_blocks_dropped_total = make.counter(
            "epp_kv_event_blocks_dropped",
            "Blocks forgotten with dropped views.",
        )
        self.event_connected = make.gauge(
            "epp_kv_event_connected_ranks",
            "Ranks whose event stream is connected.",
        )
        self.event_refused_total = make.counter(
            "epp_kv_event_refused_ranks",
            "Ranks whose events are not read.",
            ("reason",),
        )
        self.event_malformed_total = make.counter(
            "epp_kv_event_malformed",
            "KV event messages that could not be read.",
        )
        self.event_silent = make.gauge(
            "epp_kv_event_silent_ranks",
            "Ranks that were sent prompts and published no event for too long.",
        )
        self.scrape_errors_total = make.counter(
            "llm_d_epp_datalayer_poll_errors",
            "Metrics pages that could not be read, by cause.",
            ("cause",),
        )
        self.scrapes_total = make.counter("epp_scrapes", "Metrics pages read.")
        self.scrape_page_bytes_total = make.counter(
            "epp_scrape_page_bytes",
            "Bytes of metrics pages read.",
        )
        self.part_failures_total = make.counter(
            "epp_part_failures",
            "Background parts that failed and were started again.",
            ("part",),
        )
        self.discovery_updates_total = make.counter(
            "epp_discovery_updates",
            "Endpoint sets read, by outcome.",
            ("outcome",),
        )

    def _tokens(self) -> None:
        make = self._make
        self.tokenize_s = make.histogram(
            "epp_tokenize_duration_seconds",
            "Text to token ids.",
            buckets=_PICK_S,
        )
        self.template_s = make.histogram(
            "epp_template_duration_seconds",
            "Messages to text.",
            buckets=_PICK_S,
        )
        self.tokenizer_cached_tokens_total = make.counter(
            "epp_tokenizer_cached_tokens",
            "Tokens taken from earlier prompts' prefixes.",
        )
        self.tokenizer_uncached_tokens_total = make.counter(
            "epp_tokenizer_uncached_tokens",
            "Tokens computed.",
        )
        self.degraded_total = make.counter(
            "epp_degraded_picks",
            "Picks made without exact tokens, by reason.",
            ("reason",),
        )
        self.tokenizer_degraded_total = make.counter(
            "epp_tokenizer_degraded",
            "Prompts answered with less than exact tokens, by model and reason.",
            ("model", "reason"),
        )
        self.model_load_s = make.gauge(
            "epp_model_load_seconds",
            "How long a model's tokenizer took to load, and how it runs.",
            ("model", "backend", "splits_text"),
        )
        self.model_load_failures_total = make.counter(
            "epp_model_load_failures",
            "Tokenizers that could not be loaded.",
            ("model", "reason"),
        )
        self.tokenizer_queue = make.gauge(
            "epp_tokenizer_queue_depth",
            "Prompts waiting for a tokenizer thread.",
        )
        self.tokenizer_cache_bytes = make.gauge(
            "epp_tokenizer_cache_bytes",
            "Memory of the tokenizer's prefix cache.",
        )
        self.models_ready = make.gauge("epp_models_ready", "Models whose tokenizer is loaded.")
