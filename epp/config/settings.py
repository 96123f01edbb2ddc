"""The table of settings: one row each, from which everything else follows.

A row binds a field of :mod:`epp.config.model` to its flag, its environment variables and the kind of
value it takes. The default is the field's, the help text is the field's docstring, and the key in a
configuration file is the field's path (``server.grpc_port`` is ``grpc_port`` below ``server``).

Names. Flags are those of the Gateway API inference extension and llm-d where they have one, else
Dynamo's, else ours. Variables are ``DYN_*`` where Dynamo's endpoint picker or its shared groups have one,
else ``EPP_`` and the flag. ``DYN_ROUTER_*`` and ``DYN_HTTP_*`` belong to Dynamo's frontend and are not read.
Where two variables are named, the first that is set counts.
"""

from epp.config import model
from epp.config.foreign import FOREIGN_FLAGS, FOREIGN_VARIABLES
from epp.config.kinds import (
    BOOLEAN,
    HTTP_URL,
    PORT,
    TEXT,
    Kind,
    choice,
    many,
    real,
    seconds,
    size_bytes,
    whole,
)
from epp.config.table import MODEL_NAMES, MODEL_PATHS, Setting, Table, shown_value, value_at

__all__ = [
    "BY_PATH",
    "DEFAULTS",
    "MODELS",
    "MODEL_NAMES",
    "MODEL_PATHS",
    "SETTINGS",
    "TABLE",
    "Setting",
    "shown_value",
    "value_at",
]

POLICIES = ("ttft", "kv", "round-robin", "random", "least-loaded", "power-of-two", "scorers")
_COUNT = whole(0, 2**31 - 1)
_SOME = whole(1, 2**31 - 1)
_FRACTION = real(0.0, 1.0)
_WEIGHT = real(0.0, 1e6)


def _row(path: str, kind: Kind, flag: str, *env: str, env_kind: Kind | None = None) -> Setting:
    return Setting(path, kind, flag, env or ("EPP_" + flag.upper().replace("-", "_"),), env_kind)


def _file_only(path: str, kind: Kind) -> Setting:
    return Setting(path, kind, "")


def _bootstrap(path: str, kind: Kind, flag: str) -> Setting:
    return Setting(path, kind, flag, ("EPP_" + flag.upper().replace("-", "_"),), in_file=False)


MODELS = _file_only("tokenize.models", TEXT)
"""Read by its own code (a list of records); the two above replace it."""

_BOOTSTRAP = (_bootstrap("config_file", TEXT, "config-file"), _bootstrap("config_text", TEXT, "config-text"))

_SERVER = (
    _row("server.bind_address", TEXT, "bind-address"),
    _row("server.grpc_port", PORT, "grpc-port"),
    _row("server.grpc_health_port", PORT, "grpc-health-port"),
    _row("server.metrics_port", PORT, "metrics-port", "DYN_EPP_METRICS_PORT"),
    _row("server.drain_timeout_s", seconds(0.0), "drain-timeout"),
    _row("server.max_streams", _SOME, "max-streams"),
    _row("server.max_body_bytes", size_bytes(1024, 2**31 - 1), "max-body-bytes"),
    _row("server.max_inflight_requests", _SOME, "max-inflight-requests", "DYN_EPP_MAX_INFLIGHT_REQUESTS"),
    _row("server.retry_after_s", whole(0, 86_400), "retry-after", "DYN_EPP_SHED_RETRY_AFTER_SECS"),
    _row("server.observe_response", BOOLEAN, "observe-response"),
    _row("server.skip_response", BOOLEAN, "skip-response"),
    _row("server.conformance", BOOLEAN, "conformance"),
    _row("server.trust_client_headers", BOOLEAN, "trust-client-headers"),
    _row("server.tls.enabled", BOOLEAN, "secure-serving", "DYN_SECURE_SERVING"),
    _row("server.tls.cert_path", TEXT, "cert-path"),
    _row("server.tls.reload", BOOLEAN, "enable-cert-reload"),
    _row("server.tls.client_ca_path", TEXT, "client-ca-path"),
)

_ENDPOINTS = (
    _row("discovery.backend", choice("file", "etcd", "kubernetes"), "discovery-backend"),
    _row("discovery.endpoints_file", TEXT, "endpoints-file"),
    _row("discovery.poll_interval_s", seconds(0.05, 3600.0), "endpoints-poll-interval"),
    _row("discovery.namespace", TEXT, "discovery-namespace"),
    _row("discovery.namespace_prefix", TEXT, "discovery-namespace-prefix"),
    _row("discovery.etcd.endpoints", many(HTTP_URL, 16), "etcd-endpoints", "ETCD_ENDPOINTS"),
    _row("discovery.etcd.prefix", TEXT, "etcd-prefix"),
    _row("discovery.etcd.ca_path", TEXT, "etcd-ca-path", "ETCD_AUTH_CA"),
    _row("discovery.etcd.cert_path", TEXT, "etcd-cert-path", "ETCD_AUTH_CLIENT_CERT"),
    _row("discovery.etcd.key_path", TEXT, "etcd-key-path", "ETCD_AUTH_CLIENT_KEY"),
    _row("pool.name", TEXT, "pool-name", "DYN_EPP_INFERENCE_POOL_NAME"),
    _row("pool.namespace", TEXT, "pool-namespace", "POD_NAMESPACE", "NAMESPACE"),
    _row("pool.group", TEXT, "pool-group"),
    _row("pool.selector", TEXT, "endpoint-selector"),
    _row("pool.target_ports", many(whole(1, 65535), 8), "endpoint-target-ports"),
    _row("pool.kv_events_port", whole(1, 65535), "kv-events-port", "DYN_EPP_KV_EVENT_PORT"),
    _row("pool.kubeconfig", TEXT, "kubeconfig", "KUBECONFIG"),
    _row("pool.look_interval_s", seconds(1.0, 3600.0), "pool-look-interval"),
    _row("scrape.enabled", BOOLEAN, "scrape-metrics"),
    _row("scrape.interval_s", seconds(0.05, 3600.0), "refresh-metrics-interval"),
    _row("scrape.jitter", real(0.0, 0.9), "scrape-jitter"),
    _row("scrape.timeout_s", seconds(0.01, 600.0), "scrape-timeout"),
    _row("scrape.stale_after_s", seconds(0.05, 3600.0), "metrics-staleness-threshold"),
    _row("scrape.max_page_bytes", size_bytes(1024, 2**30), "scrape-max-page-bytes"),
    _row("events.enabled", BOOLEAN, "kv-events", "DYN_EPP_KV_EVENTS"),
    _row("events.replay_timeout_s", seconds(0.01, 600.0), "kv-replay-timeout"),
    _row("events.max_message_bytes", size_bytes(1024, 2**31 - 1), "kv-max-message-bytes"),
    _row("events.high_water_messages", _SOME, "kv-high-water-messages"),
    _row("events.silent_after_s", seconds(1.0), "kv-silent-after"),
)

_TOKENIZE = (
    _row("tokenize.threads", whole(1, 256), "tokenize-threads"),
    _row("tokenize.inline_bytes", size_bytes(0, 2**24), "tokenize-inline-bytes"),
    _row(
        "tokenize.deadline_s",
        seconds(0.001, 600.0),
        "tokenize-deadline",
        "DYN_EPP_TOKENIZATION_TIMEOUT_MS",
        env_kind=seconds(0.001, 600.0, bare_unit="ms"),
    ),
    _row("tokenize.max_queued", _SOME, "tokenize-max-queued"),
    _row("tokenize.prefix_cache_bytes", size_bytes(0, 2**40), "tokenize-prefix-cache-bytes"),
    _row("tokenize.render_deadline_s", seconds(0.001, 600.0), "render-deadline"),
)

_ROUTING = (
    _row("routing.policy", choice(*POLICIES), "policy"),
    _row("routing.core", choice("native", "python"), "core"),
    _row("routing.lease_s", seconds(1.0), "booking-lease"),
    _row("routing.predicted_ttl_s", seconds(0.0), "router-ttl-secs"),
    _row("routing.max_bookings", _SOME, "max-bookings"),
    _row("routing.max_blocks", whole(1024, 2**40), "max-blocks"),
    _row("routing.default_prefill_tokens_per_s", real(1.0, 1e9), "default-prefill-tokens-per-s"),
    _row("routing.disagg_enabled", BOOLEAN, "disagg"),
    _row("routing.disagg_min_uncached_tokens", _COUNT, "disagg-min-uncached-tokens"),
    _row("routing.disagg_min_prompt_tokens", _COUNT, "disagg-min-prompt-tokens"),
    _row(
        "routing.emit_prefiller_host_port",
        BOOLEAN,
        "emit-prefiller-host-port",
        "DYN_EPP_EMIT_PREFILLER_HOST_PORT",
    ),
    _row("routing.inject_token_data", BOOLEAN, "inject-token-data"),
    _row("routing.inject_cache_salt", BOOLEAN, "inject-cache-salt"),
    _row("routing.detached_lease_s", seconds(1.0), "detached-lease"),
    _row(
        "routing.busy_decode_fraction",
        _FRACTION,
        "active-decode-blocks-threshold",
        "DYN_ACTIVE_DECODE_BLOCKS_THRESHOLD",
    ),
    _row(
        "routing.busy_prefill_tokens",
        _COUNT,
        "active-prefill-tokens-threshold",
        "DYN_ACTIVE_PREFILL_TOKENS_THRESHOLD",
    ),
    _row(
        "routing.busy_prefill_fraction",
        real(0.0, 1e6),
        "active-prefill-tokens-threshold-frac",
        "DYN_ACTIVE_PREFILL_TOKENS_THRESHOLD_FRAC",
    ),
    _row("routing.max_batched_tokens", _COUNT, "max-num-batched-tokens", "DYN_EPP_MAX_NUM_BATCHED_TOKENS"),
    _row("routing.fallback_endpoints", whole(0, 63), "fallback-endpoints"),
    _row("routing.cost.overlap_credit", _WEIGHT, "router-kv-overlap-score-credit"),
    _row("routing.cost.credit_decay", _WEIGHT, "router-kv-overlap-score-credit-decay"),
    _row("routing.cost.prefill_load_scale", _WEIGHT, "router-prefill-load-scale"),
    _row("routing.cost.host_weight", _FRACTION, "router-host-cache-hit-weight"),
    _row("routing.cost.disk_weight", _FRACTION, "router-disk-cache-hit-weight"),
    _row("routing.cost.active_request_weight", _WEIGHT, "router-decode-active-request-weight"),
    _row("routing.cost.temperature", _WEIGHT, "router-temperature"),
    _row("routing.cost.assume_kv_reuse", BOOLEAN, "router-assume-kv-reuse"),
    _row("routing.cost.track_prefill_tokens", BOOLEAN, "router-track-prefill-tokens"),
)

_TELEMETRY = (
    _row("telemetry.log_level", choice("debug", "info", "warning", "error"), "log-level"),
    _row("telemetry.log_format", choice("text", "json"), "log-format"),
    _row("telemetry.recent_picks", whole(0, 100_000), "recent-picks"),
    _row("telemetry.keep_candidates", BOOLEAN, "keep-candidates"),
    _row("telemetry.pool_name", TEXT, "metrics-pool-name"),
)

SETTINGS: tuple[Setting, ...] = (
    *_BOOTSTRAP,
    *_SERVER,
    *_ENDPOINTS,
    MODEL_PATHS,
    MODEL_NAMES,
    MODELS,
    *_TOKENIZE,
    *_ROUTING,
    *_TELEMETRY,
)
"""Every setting, in the order of the reference page."""

TABLE = Table(
    default=model.Config(),
    settings=SETTINGS,
    modules=(model,),
    foreign_flags=FOREIGN_FLAGS,
    foreign_variables=FOREIGN_VARIABLES,
)
BY_PATH = TABLE.by_path
DEFAULTS = TABLE.defaults
"""Path of every field → its default."""
