"""Configuration as frozen records, one per part; each part receives its own and nobody reads globals.

Values here are final: command line, environment and file have been merged (``epp.config.load``) and
checked. Every field says its unit in its name and its meaning below it; the reference page
(docs/configuration.md) is generated from these docstrings.
"""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class TlsConfig:
    """TLS of the ext_proc port."""

    enabled: bool = True
    """Serve TLS; False: plaintext HTTP/2 (h2c)."""
    cert_path: str | None = None
    """Folder with ``tls.crt`` and ``tls.key``; None: a self-signed certificate made at start."""
    reload: bool = True
    """Take a renewed certificate without a restart."""
    client_ca_path: str | None = None
    """PEM file of the CAs whose client certificates are required; None: clients need none."""


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """The doors: ports and limits."""

    bind_address: str = "0.0.0.0"  # noqa: S104 -- a gateway connects from another pod
    """Address the ports listen on."""
    grpc_port: int = 9002
    """ext_proc gRPC port; 0: the kernel chooses."""
    grpc_health_port: int = 9003
    """gRPC health port, plaintext; 0: the kernel chooses."""
    metrics_port: int = 9090
    """HTTP port for /metrics and /debug; 0: the kernel chooses."""
    tls: TlsConfig = TlsConfig()
    drain_timeout_s: float = 30.0
    """How long running streams may take to finish after SIGTERM."""
    max_streams: int = 16384
    """Concurrent ext_proc streams; more are refused with 503."""
    max_body_bytes: int = 64 * 1024 * 1024
    """Request bodies beyond this are refused with 413."""
    max_inflight_requests: int = 8192
    """Requests between their first message and the end of their stream; more are shed with 429."""
    retry_after_s: int = 1
    """``Retry-After`` of a shed request; 0: the header is left out."""
    observe_response: bool = False
    """Read usage from response bodies that the gateway sends anyway."""
    skip_response: bool = False
    """Close the stream right after the pick; bookings then end by events and leases."""
    conformance: bool = False
    """Honour ``test-epp-endpoint-selection`` and report the served endpoint."""
    trust_client_headers: bool = False
    """Keep worker pins and priorities that come from outside instead of stripping them."""


@dataclass(frozen=True, slots=True)
class DiscoveryConfig:
    """Where endpoints come from."""

    endpoints_file: str | None = None
    """YAML or JSON file of endpoints, watched."""
    poll_interval_s: float = 1.0
    """How often the file is looked at."""


@dataclass(frozen=True, slots=True)
class ScrapeConfig:
    """Metrics pages of the model servers."""

    enabled: bool = True
    interval_s: float = 1.0
    """Pause between two reads of one worker."""
    jitter: float = 0.1
    """Fraction of the interval the reads are spread by."""
    timeout_s: float = 2.0
    stale_after_s: float = 5.0
    """A sample older than this counts as unknown."""
    max_page_bytes: int = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class EventsConfig:
    """KV-cache event streams."""

    enabled: bool = True
    """False: every worker is served from predicted blocks."""
    replay_timeout_s: float = 5.0
    max_message_bytes: int = 64 * 1024 * 1024
    high_water_messages: int = 100_000
    """ZMQ receive bound per rank; overflow shows as a gap and is replayed."""
    silent_after_s: float = 60.0
    """A worker that was sent prompts and published nothing for this long is reported."""


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """One model whose prompts are tokenized here."""

    name: str
    """Name clients use."""
    path: str
    """Folder with tokenizer.json, or a hub name (needs the ``hub`` extra and a network)."""
    aliases: tuple[str, ...] = ()
    """Further names, LoRA adapters among them."""
    revision: str | None = None


@dataclass(frozen=True, slots=True)
class TokenizeConfig:
    """Tokenization."""

    models: tuple[ModelConfig, ...] = ()
    threads: int = 2
    """Threads for prompts too long to tokenize on the event loop."""
    inline_bytes: int = 16 * 1024
    """Prompts up to this size are tokenized on the event loop."""
    deadline_s: float = 5.0
    """Beyond it the pick goes on without tokens."""
    max_queued: int = 256
    """Prompts waiting for a thread; more are picked without tokens."""
    prefix_cache_bytes: int = 256 * 1024 * 1024
    """Memory for token ids of earlier prompts' prefixes."""
    render_deadline_s: float = 1.0
    """Longest a chat template may run."""


@dataclass(frozen=True, slots=True)
class CostConfig:
    """Weights of the ``kv`` policy (``dynamo.md`` formula; see epp.core.router.CostParams)."""

    overlap_credit: float = 1.0
    credit_decay: float = 0.0
    prefill_load_scale: float = 1.0
    host_weight: float = 0.75
    disk_weight: float = 0.25
    active_request_weight: float = 0.0
    temperature: float = 0.0
    assume_kv_reuse: bool = True
    track_prefill_tokens: bool = True


@dataclass(frozen=True, slots=True)
class RoutingConfig:
    """The choice."""

    policy: str = "kv"
    """ttft | kv | round-robin | random | least-loaded | power-of-two | scorers."""
    core: str = "native"
    """native | python: which implementation of the router decides."""
    cost: CostConfig = CostConfig()
    lease_s: float = 300.0
    """A booking whose stream shows no life for this long is dropped."""
    predicted_ttl_s: float = 120.0
    """How long blocks sent to a worker without events count as resident there."""
    max_bookings: int = 65536
    max_blocks: int = 64 * 1024 * 1024
    """Bound of (worker, rank, block) triples in the index."""
    default_prefill_tokens_per_s: float = 8000.0
    """Prior of a worker's prefill rate until it is learnt."""
    disagg_enabled: bool = True
    disagg_min_uncached_tokens: int = 0
    disagg_min_prompt_tokens: int = 0
    emit_prefiller_host_port: bool = True
    """Write ``x-prefiller-host-port`` for split requests."""
    inject_token_data: bool = False
    """Splice ``nvext.token_data`` into the forwarded body."""
    busy_decode_fraction: float | None = None
    busy_prefill_tokens: int | None = None
    busy_prefill_fraction: float | None = None
    fallback_endpoints: int = 0
    """Further endpoints listed behind the choice, for gateways that retry along the list."""


@dataclass(frozen=True, slots=True)
class TelemetryConfig:
    """What can be seen."""

    log_level: str = "info"
    log_format: str = "text"
    """text | json."""
    recent_picks: int = 512
    """Decisions kept for /debug/picks."""
    pool_name: str = "default"
    """Value of the ``name`` label of pool metrics."""


@dataclass(frozen=True, slots=True)
class Config:
    """Everything."""

    server: ServerConfig = ServerConfig()
    discovery: DiscoveryConfig = DiscoveryConfig()
    scrape: ScrapeConfig = ScrapeConfig()
    events: EventsConfig = EventsConfig()
    tokenize: TokenizeConfig = TokenizeConfig()
    routing: RoutingConfig = RoutingConfig()
    telemetry: TelemetryConfig = TelemetryConfig()
    plugins: dict[str, object] = field(default_factory=dict)
    """A parsed EndpointPickerConfig's plugins and profiles (epp.config.pickerconfig); empty: none."""
