"""The table of the frontend's settings.

Rows are as in :mod:`epp.config.settings`, over :class:`frontend.config.model.FrontendConfig`; those of the
engine inside are the picker's own rows below ``picker``.

Names. Flags and variables are those of Dynamo's frontend where it has them (``DYN_`` and the flag unless
the row says another), else ours: the flag, and ``EPP_`` and the flag. Both programs read the engine's
settings by the same names.
"""

from collections.abc import Iterator
from dataclasses import replace

from epp.config import model as engine_model
from epp.config.kinds import BOOLEAN, PORT, TEXT, Kind, choice, many, seconds, size_bytes, whole
from epp.config.settings import SETTINGS as ENGINE_SETTINGS
from epp.config.table import MAX_LISTED, MODEL_NAMES, MODEL_PATHS, Setting, Table
from frontend.config import model
from frontend.config.foreign import FOREIGN_FLAGS, FOREIGN_VARIABLES

ENGINE = "picker."
MODES = (
    "round-robin", "random", "kv", "ttft", "least-loaded", "power-of-two", "direct", "scorers",
)  # fmt: skip
"""Values of ``--router-mode``; ``scorers`` takes the profiles of the configuration file."""
BACKENDS = ("kubernetes", "etcd", "file", "mem")

_COUNT = whole(0, 2**31 - 1)
_SOME = whole(1, 2**31 - 1)


def _http_path(text: str) -> str:
    if not text.startswith("/") or not text.isascii() or not text.isprintable() or set(text) & set(" ?#"):
        raise ValueError(f"must be a path that begins with /, not {text[:60]!r}")
    return text


def _mebibytes(text: str) -> int:
    return _MEGABYTES.parse(text) * 2**20  # type: ignore[operator]  # a whole number


_MEGABYTES = whole(1, 2047)
_PATH = Kind("a path that begins with /", _http_path)
_OFF = Kind("true to switch it off, or false", lambda text: not BOOLEAN.parse(text))
"""A variable that says DISABLE."""
_BODY_MB = Kind("a whole number of MiB from 1 to 2047", _mebibytes)


def _name(prefix: str, flag: str) -> str:
    return prefix + flag.upper().replace("-", "_")


def _dyn(path: str, kind: Kind, flag: str, *env: str, env_kind: Kind | None = None) -> Setting:
    """A setting of Dynamo's frontend."""
    return Setting(path, kind, flag, env or (_name("DYN_", flag),), env_kind)


def _own(path: str, kind: Kind, flag: str) -> Setting:
    """One of ours."""
    return Setting(path, kind, flag, (_name("EPP_", flag),))


def _route(name: str, part: str) -> Setting:
    return _dyn(f"http.paths.{name}", _PATH, f"http-path-{name}", f"DYN_HTTP_SVC_{part}_PATH_ENV")


_HTTP = (
    _dyn("http.host", TEXT, "http-host"),
    _dyn("http.port", PORT, "http-port"),
    _dyn("http.tls_cert_path", TEXT, "tls-cert-path"),
    _dyn("http.tls_key_path", TEXT, "tls-key-path"),
    _dyn("http.tls_client_ca_path", TEXT, "tls-client-ca-cert-path"),
    _dyn(
        "http.body_limit_bytes",
        size_bytes(1024, 2**31 - 1),
        "http-body-limit",
        "DYN_HTTP_BODY_LIMIT_MB",
        env_kind=_BODY_MB,
    ),
    _own("http.bodies_limit_bytes", size_bytes(1024), "http-bodies-limit"),
    _dyn("http.listen_backlog", whole(1, 65535), "http-listen-backlog"),
    _own("http.max_connections", _SOME, "http-max-connections"),
    _dyn(
        "http.graceful_shutdown_timeout_s",
        seconds(0.0),
        "http-graceful-shutdown-timeout",
        "DYN_HTTP_GRACEFUL_SHUTDOWN_TIMEOUT_SECS",
    ),
    _dyn(
        "http.sse_keep_alive_s",
        seconds(0.0, 3600.0),
        "http-sse-keep-alive-interval",
        "DYN_HTTP_SSE_KEEP_ALIVE_INTERVAL_MS",
        env_kind=seconds(0.0, 3600.0, bare_unit="ms"),
    ),
    _dyn("http.overload_status", whole(200, 999), "http-overload-status-code"),
    _own("http.retry_after_s", whole(0, 86_400), "retry-after"),
    _dyn("http.admin_api", BOOLEAN, "admin-api", "DYN_DISABLE_FRONTEND_ADMIN_API", env_kind=_OFF),
    _route("chat", "CHAT"),
    _route("completions", "CMP"),
    _route("embeddings", "EMB"),
    _route("responses", "RESPONSES"),
    _route("models", "MODELS"),
    _route("messages", "ANTHROPIC"),
    _route("health", "HEALTH"),
    _route("live", "LIVE"),
    _route("metrics", "METRICS"),
)

_PIPELINE = (
    _dyn("pipeline.router_mode", choice(*MODES), "router-mode"),
    _own("pipeline.routing", choice("discover", "direct-to-known", "query-only"), "routing"),
    _own("pipeline.postprocess", choice("engine", "frontend"), "postprocess"),
    _dyn("pipeline.enable_anthropic_api", BOOLEAN, "enable-anthropic-api"),
    _dyn("pipeline.strip_anthropic_preamble", BOOLEAN, "strip-anthropic-preamble"),
    _dyn("pipeline.nvext", BOOLEAN, "nvext", "DYN_DISABLE_FRONTEND_NVEXT", env_kind=_OFF),
    replace(
        _dyn(
            "pipeline.chat_processor",
            choice("dynamo", "vllm", "sglang"),
            "dyn-chat-processor",
            "DYN_CHAT_PROCESSOR",
        ),
        former=("chat-processor",),
    ),
    _dyn("pipeline.debug_perf", BOOLEAN, "dyn-debug-perf", "DYN_DEBUG_PERF"),
    _dyn("pipeline.preprocess_workers", whole(0, 256), "dyn-preprocess-workers", "DYN_PREPROCESS_WORKERS"),
    _dyn("pipeline.tool_call_parser", TEXT, "dyn-tool-call-parser", "DYN_TOOL_CALL_PARSER"),
    _dyn("pipeline.reasoning_parser", TEXT, "dyn-reasoning-parser", "DYN_REASONING_PARSER"),
    _dyn("pipeline.reasoning_field_name", TEXT, "reasoning-field-name"),
    _dyn("pipeline.exclude_tools_when_tool_choice_none", BOOLEAN, "exclude-tools-when-tool-choice-none"),
    _dyn("pipeline.trust_remote_code", BOOLEAN, "trust-remote-code"),
)

_DISAGG = (
    _own("disagg.enabled", BOOLEAN, "disagg"),
    _own("disagg.prefill_failure", choice("aggregated", "fail"), "prefill-failure"),
    _own("disagg.min_uncached_tokens", _COUNT, "disagg-min-uncached-tokens"),
    _own("disagg.min_prompt_tokens", _COUNT, "disagg-min-prompt-tokens"),
    _dyn("disagg.enforce", BOOLEAN, "enforce-disagg"),
    _dyn("disagg.decode_fallback", BOOLEAN, "decode-fallback"),
    _own("disagg.prefill_timeout_s", seconds(0.1), "prefill-timeout"),
)

_TOLERANCE = (
    _dyn("tolerance.migration_limit", whole(0, 1000), "migration-limit"),
    _dyn("tolerance.migration_max_seq_len", _SOME, "migration-max-seq-len"),
    _dyn("tolerance.queue_policy", choice("fcfs", "wspt", "lcfs"), "router-queue-policy"),
    _own("tolerance.queue_max_requests", whole(0, 1_000_000), "queue-max-requests"),
    _own("tolerance.queue_max_tokens", _SOME, "queue-max-tokens"),
    _own("tolerance.queue_timeout_s", seconds(0.0), "queue-timeout"),
    _own("tolerance.retry_attempts", whole(0, 100), "retry-attempts"),
    _own("tolerance.breaker_failures", whole(0, 1_000_000), "breaker-failures"),
    _own("tolerance.breaker_open_s", seconds(0.0), "breaker-open"),
    _own("tolerance.connect_timeout_s", seconds(0.01, 600.0), "connect-timeout"),
    _own("tolerance.response_timeout_s", seconds(0.1), "response-timeout"),
    _own("tolerance.idle_timeout_s", seconds(0.1), "idle-timeout"),
)

_TRACING = (
    _dyn("tracing.metrics_prefix", TEXT, "metrics-prefix"),
    _own("tracing.access_log", BOOLEAN, "access-log"),
    _dyn(
        "tracing.otlp_endpoint",
        TEXT,
        "otlp-endpoint",
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
        "OTEL_EXPORTER_OTLP_ENDPOINT",
    ),
    _dyn("tracing.service_name", TEXT, "otel-service-name", "OTEL_SERVICE_NAME"),
)

_GENERAL = (
    replace(_dyn("interactive", BOOLEAN, "interactive"), short="i"),
    _dyn("dump_config_to", TEXT, "dump-config-to"),
    _dyn("discovery_backend", choice(*BACKENDS), "discovery-backend"),
    _dyn("namespace", TEXT, "namespace"),
    _dyn("namespace_prefix", TEXT, "namespace-prefix"),
    _dyn("min_initial_workers", whole(0, 100_000), "router-min-initial-workers"),
    Setting("served_names", many(TEXT, MAX_LISTED), ""),
)

_ENGINE_SECTIONS = ("discovery", "pool", "scrape", "events", "tokenize", "routing", "telemetry")
_DERIVED = frozenset({
    "discovery.backend", "discovery.namespace", "discovery.namespace_prefix",
    "routing.policy", "routing.disagg_enabled", "routing.disagg_min_uncached_tokens",
    "routing.disagg_min_prompt_tokens", "routing.emit_prefiller_host_port", "routing.inject_token_data",
    "routing.inject_cache_salt", "routing.detached_lease_s", "routing.fallback_endpoints",
})  # fmt: skip
"""Fields of the engine's sections that follow from other settings (:mod:`frontend.config.derive`), or
that only a gateway has a use for."""
_CHANGES = {
    "events.enabled": {
        "flag": "router-kv-events",
        "env": ("DYN_ROUTER_USE_KV_EVENTS",),
        "former": ("use-kv-events",),
    },
    "routing.cost.prefill_load_scale": {
        "env": ("DYN_ROUTER_PREFILL_LOAD_SCALE", "DYN_ROUTER_KV_OVERLAP_SCORE_WEIGHT"),
        "former": ("router-kv-overlap-score-weight", "kv-overlap-score-weight"),
    },
}
"""Where the frontend's names are others than the picker's."""


def _engine_settings() -> Iterator[Setting]:
    """The picker's rows that mean something here, below ``picker``."""
    for row in ENGINE_SETTINGS:
        if row in (MODEL_PATHS, MODEL_NAMES):
            yield row
        elif row.path in ("config_file", "config_text", "server.trust_client_headers") or (
            row.path.startswith(_ENGINE_SECTIONS) and row.path not in _DERIVED
        ):
            yield replace(_renamed(row), path=ENGINE + row.path)


def _renamed(row: Setting) -> Setting:
    if row.flag.startswith("router-"):
        row = replace(row, env=(_name("DYN_", row.flag), *row.env))
    return replace(row, **_CHANGES.get(row.path, {}))  # type: ignore[arg-type]  # fields of Setting


SETTINGS: tuple[Setting, ...] = (
    *_GENERAL,
    *_HTTP,
    *_PIPELINE,
    *_DISAGG,
    *_TOLERANCE,
    *_TRACING,
    *_engine_settings(),
)
"""Every setting, in the order of the reference page."""

TABLE = Table(
    default=model.FrontendConfig(),
    settings=SETTINGS,
    modules=(model, engine_model),
    foreign_flags=FOREIGN_FLAGS,
    foreign_variables=FOREIGN_VARIABLES,
    engine=ENGINE,
    served="served_names",
    policy="pipeline.router_mode",
)
