"""The frontend's configuration as frozen records, one per part.

Values are final here, as in :mod:`epp.config.model`, whose records the engine inside the frontend takes:
one table of flags (``frontend.config.settings``) fills both.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from epp.config.model import Config, ServerConfig

DEFAULT_PATHS: Mapping[str, str] = {
    "chat": "/v1/chat/completions",
    "completions": "/v1/completions",
    "embeddings": "/v1/embeddings",
    "responses": "/v1/responses",
    "models": "/v1/models",
    "messages": "/v1/messages",
    "health": "/health",
    "live": "/live",
    "metrics": "/metrics",
}
"""Paths an operator can move."""


@dataclass(frozen=True, slots=True)
class HttpConfig:
    """The listening side."""

    host: str = "0.0.0.0"  # noqa: S104 -- clients connect from elsewhere
    """HTTP listen address."""
    port: int = 8000
    """HTTP listen port; 0: the kernel chooses."""
    tls_cert_path: str | None = None
    """TLS certificate (PEM); must be paired with the key."""
    tls_key_path: str | None = None
    """TLS private key (PEM); must be paired with the certificate."""
    tls_client_ca_path: str | None = None
    """PEM file of the CAs whose client certificates are required; None: clients need none."""
    body_limit_bytes: int = 192 * 1024 * 1024
    """Request bodies beyond this are refused with 413."""
    bodies_limit_bytes: int = 1024 * 1024 * 1024
    """Bodies of all requests that are not answered yet, at least one as large as a body may be; more are
    refused with 503."""
    listen_backlog: int = 4096
    """Connections the kernel queues before they are accepted."""
    max_connections: int = 16384
    """Open client connections; more are refused with 503."""
    graceful_shutdown_timeout_s: float = 5.0
    """How long running requests may take to finish after SIGTERM."""
    sse_keep_alive_s: float = 0.0
    """Idle time after which a stream gets a comment line; 0: never."""
    overload_status: int = 529
    """Status when every worker is busy (200-999)."""
    retry_after_s: int = 1
    """``Retry-After`` of an overload answer; 0: the header is left out."""
    paths: Mapping[str, str] = field(default_factory=lambda: DEFAULT_PATHS)
    """Where each endpoint is served."""
    admin_api: bool = True
    """Serve POST /busy_threshold."""


@dataclass(frozen=True, slots=True)
class PipelineConfig:
    """Which segments a request passes."""

    postprocess: str = "engine"
    """engine: answers are relayed as the engine made them | frontend: token ids are turned into text here."""
    routing: str | None = None
    """query-only: tell the choice, run nothing | direct-to-known: go where the request says | discover:
    choose; None: direct-to-known with router mode ``direct``, else discover."""
    router_mode: str = "round-robin"
    """round-robin | random | kv | ttft | least-loaded | power-of-two | direct (the same as direct-to-known) |
    scorers (the profiles of the configuration file)."""
    enable_anthropic_api: bool = False
    """Serve /v1/messages and /v1/messages/count_tokens."""
    strip_anthropic_preamble: bool = True
    """Drop the billing line some Anthropic clients put before the system prompt; it changes per request and
    so defeats prefix caches."""
    nvext: bool = True
    """Understand ``nvext``; False: the field is refused as unknown."""
    chat_processor: str = "dynamo"
    """dynamo: our own templating and parsers | vllm | sglang: that engine's, from its installed package."""
    preprocess_workers: int = 0
    """Worker processes for the vllm chat processor; 0: the main event loop."""
    debug_perf: bool = False
    """Log the time each step of the vllm chat processor takes."""
    tool_call_parser: str = "auto"
    """auto | none | hermes | llama3_json | mistral | qwen3_coder | glm45 | minimax_m2 | kimi_k2 |
    deepseek_v3 | deepseek_v31 | deepseek_v32 | gpt_oss | pythonic: how tool calls are read from text."""
    reasoning_parser: str = "auto"
    """auto | none | qwen3 | deepseek_r1 | mistral | gpt_oss: how reasoning is told from the answer."""
    reasoning_field_name: str = "reasoning_content"
    """Field of a message that carries its reasoning."""
    exclude_tools_when_tool_choice_none: bool = True
    """``tool_choice: none`` keeps tools out of the prompt."""
    trust_remote_code: bool = False
    """Allow code of a model repository to run (engine chat processors only)."""


@dataclass(frozen=True, slots=True)
class DisaggConfig:
    """Prefill on one worker, decode on another."""

    enabled: bool = True
    """Split requests where a prefill worker is at hand."""
    prefill_failure: str = "aggregated"
    """aggregated: the decode worker computes the prompt itself | fail: the request fails."""
    min_uncached_tokens: int = 0
    """Split only if the decode worker lacks at least this many prompt tokens."""
    min_prompt_tokens: int = 0
    """Split only prompts of at least this many tokens."""
    enforce: bool = False
    """Never serve unsplit when prefill workers exist in the pool but none can take the request."""
    decode_fallback: bool = False
    """Decode workers serve alone while their pool has no prefill worker; False: such a pool is not ready."""
    prefill_timeout_s: float = 120.0
    """Longest a prefill leg may take."""

    @property
    def needs_prefill(self) -> bool:
        """Whether decode workers without prefill workers beside them are half a pool."""
        return self.enabled and not self.decode_fallback


@dataclass(frozen=True, slots=True)
class ToleranceConfig:
    """What happens when workers fail or are busy."""

    migration_limit: int = 0
    """Times one request may be taken to another worker after losing its own; 0: never."""
    migration_max_seq_len: int | None = None
    """A sequence longer than this many tokens is no longer migrated; None: no limit."""
    queue_policy: str = "fcfs"
    """fcfs | wspt | lcfs: who leaves the waiting queue first."""
    queue_max_requests: int = 0
    """Requests that may wait while every worker is busy; 0: no queue, they are refused at once."""
    queue_max_tokens: int | None = None
    """Prompt tokens that may wait in all; None: no limit."""
    queue_timeout_s: float = 30.0
    """Longest one request may wait."""
    retry_attempts: int = 1
    """Further workers tried when one cannot be connected to, or answers that it failed."""
    breaker_failures: int = 5
    """Consecutive failures after which a worker is left alone; 0: never."""
    breaker_open_s: float = 10.0
    """How long it is left alone before one request tries it again."""
    connect_timeout_s: float = 3.0
    """Longest a connection to a worker may take."""
    response_timeout_s: float = 600.0
    """Longest until a worker's response head."""
    idle_timeout_s: float = 300.0
    """Longest silence inside a worker's response."""


@dataclass(frozen=True, slots=True)
class TracingConfig:
    """OpenTelemetry and the access log."""

    metrics_prefix: str = "dynamo_frontend"
    """Prefix of the frontend's metrics."""
    access_log: bool = True
    """One line per request with the chosen worker and the reason."""
    otlp_endpoint: str | None = None
    """OTLP/HTTP collector; None: spans are not exported, trace headers still pass."""
    service_name: str = "frontend"
    """``service.name`` of its spans."""


def _engine() -> Config:
    """Clients of a frontend are who the engines would serve directly: their pins and priorities count."""
    return Config(server=ServerConfig(trust_client_headers=True))


@dataclass(frozen=True, slots=True)
class FrontendConfig:
    """Everything."""

    http: HttpConfig = HttpConfig()
    pipeline: PipelineConfig = PipelineConfig()
    disagg: DisaggConfig = DisaggConfig()
    tolerance: ToleranceConfig = ToleranceConfig()
    tracing: TracingConfig = TracingConfig()
    discovery_backend: str = "etcd"
    """file | mem | etcd | kubernetes; when none is given, ``file`` with an endpoints file, and
    ``kubernetes`` with a pool or a selector."""
    namespace: str | None = None
    """Serve only endpoints of this namespace."""
    namespace_prefix: str | None = None
    """Serve only endpoints whose namespace begins so; takes precedence over ``namespace``."""
    min_initial_workers: int = 0
    """Workers to wait for before the port opens."""
    served_names: tuple[str, ...] = ()
    """Models that are served and not tokenized here; ``--model-name`` without ``--model-path`` sets it."""
    interactive: bool = False
    """Chat on the terminal instead of serving."""
    dump_config_to: str | None = None
    """File to write every setting to, as JSON, with where its value came from."""
    picker: Config = field(default_factory=_engine)
    """What the engine inside takes: discovery, scraping, events, tokenizer, routing costs."""
