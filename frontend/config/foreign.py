"""Flags and variables of Dynamo's frontend that are not settings here.

One whose absence changes nothing a client could notice is accepted with a warning that says what happens
instead; a value that would silently lose what was asked for is refused by name, with what to do.
"""

from dataclasses import replace

from epp.config.foreign import ForeignFlag

_NO = ("false", "f", "0", "no", "off", "")
_YES = ("true", "t", "1", "yes", "on")
_PLANE = "workers are unmodified engines, called over HTTP"
_BROKER = "there is no message broker"
_INDEX = "the index is part of this process"
_STREAMS = "tool calls and reasoning are streamed as the API streams them"
_PROFILES = "give --config-file with scheduling profiles and --router-mode=scorers"
_LEARNT = "--router-mode=ttft learns each worker's prefill rate"
_NO_PEERS = "every frontend keeps its own books"


def _env(name: str) -> str:
    return "DYN_" + name.upper().replace("-", "_")


def _ignored(name: str, default: str, instead: str) -> ForeignFlag:
    """Any value changes nothing; worth a warning."""
    return ForeignFlag(name, instead, env=_env(name), default=default)


def _unless(name: str, default: str, instead: str, *accepted: str) -> ForeignFlag:
    """Refused unless it asks for what happens anyway."""
    return ForeignFlag(
        name, instead, (*accepted, ""), env=_env(name), default=default, anyway=(*accepted, "")
    )


def _switch(name: str, default: str, instead: str, *, anyway: tuple[str, ...] = _NO) -> ForeignFlag:
    """A boolean that changes nothing: quiet where it asks for what happens anyway, else worth a warning."""
    return ForeignFlag(
        name,
        instead,
        is_boolean=True,
        is_negatable=True,
        env=_env(name),
        anyway=anyway,
        default=default,
    )


def _never(name: str, instead: str) -> ForeignFlag:
    """A boolean that must not be on."""
    return replace(_switch(name, "false", instead), harmless=_NO)


FOREIGN_FLAGS: tuple[ForeignFlag, ...] = (
    # Planes and services
    _never("kserve-grpc-server", "there is no KServe gRPC service; the HTTP endpoints serve every model"),
    _ignored("grpc-metrics-port", "8788", "metrics are at /metrics on the HTTP port"),
    ForeignFlag(
        "request-plane",
        _PLANE,
        ("http", "tcp", ""),
        env=_env("request-plane"),
        default="tcp",
        anyway=("http", ""),
    ),
    ForeignFlag(
        "response-plane", _PLANE, ("tcp", ""), env=_env("response-plane"), default="tcp", anyway=("tcp", "")
    ),
    _unless("event-plane", "nats", f"{_BROKER}; each engine's events are read over ZMQ", "zmq"),
    # Router
    _ignored("router-max-tree-size", "1048576", "the index is bounded by --max-blocks"),
    _ignored("router-prune-target-ratio", "0.8", "predicted blocks leave by age, see --router-ttl-secs"),
    _never("router-replica-sync", _NO_PEERS),
    _ignored("router-snapshot-threshold", "1000000", "the index is rebuilt from the engines' replays"),
    _switch("router-reset-states", "false", "no state outlives this process"),
    _switch("router-track-active-blocks", "true", "blocks in use always count", anyway=_YES),
    _switch("router-track-output-blocks", "false", "decode progress is learnt from KV events"),
    _ignored("router-event-threads", "4", "events are read on the event loop"),
    _ignored(
        "router-queue-threshold",
        "2.0",
        "requests wait as --queue-max-requests says, when every worker is busy by the --active-* thresholds",
    ),
    _switch("enable-cache-control", "false", "engines take no pins for cached blocks"),
    _switch("router-durable-kv-events", "false", "missed events are replayed by the engine"),
    _never("serve-indexer", _INDEX),
    _never("use-remote-indexer", _INDEX),
    _switch("enable-session-prefix-index", "false", _INDEX),
    _unless("shared-cache-multiplier", "0.0", "no shared cache is known here", "0", "0.0"),
    _unless("shared-cache-type", "none", "no shared cache is known here", "none"),
    _never("load-aware", "give --router-mode=least-loaded or --router-mode=ttft"),
    _unless("router-prefill-load-model", "none", _LEARNT, "none"),
    _unless("ais-perf-config", "", _LEARNT),
    _unless("aic-perf-config", "", _LEARNT),
    _ignored("router-tracking-hash", "public-xxh3-v1", "hashes do not leave this process"),
    _ignored("router-tracking-key-file", "", "hashes do not leave this process"),
    _ignored("router-tracking-key-id", "", "hashes do not leave this process"),
    _unless("router-approximate-cache-policy", "ttl", "predicted blocks leave by age", "ttl"),
    _ignored("router-predicted-ttl-secs", "", "give --router-ttl-secs"),
    _unless("router-policy-config", "", _PROFILES),
    _unless("router-prefill-policy", "", _PROFILES),
    _unless("router-decode-policy", "", _PROFILES),
    _never("router-conditional-disagg", "give --disagg-min-uncached-tokens or --disagg-min-prompt-tokens"),
    _unless(
        "router-conditional-disagg-config",
        "",
        "give --disagg-min-uncached-tokens or --disagg-min-prompt-tokens",
    ),
    _unless("router-session-affinity-ttl-secs", "", _PROFILES),
    _unless("router-session-affinity-mode", "hard", _PROFILES, "hard"),
    _ignored("admission-control", "", "requests are refused by the --active-* thresholds"),
    # Models and answers
    _ignored("kv-cache-block-size", "", "each worker's block size is learnt from its events or metrics"),
    _unless("frontend-route-extension", "", "routes cannot be added"),
    _never("enable-streaming-tool-dispatch", _STREAMS),
    _never("enable-streaming-reasoning-dispatch", _STREAMS),
    _unless("tokenizer", "default", "tokenizers are chosen by vocabulary", "default", "fastokens"),
    _ignored("tokenizer-fallback", "", "tokenizers are chosen by vocabulary"),
)

FOREIGN_VARIABLES: dict[str, str] = {
    "DYN_LOG": "give --log-level",
    "DYN_LOGGING_JSONL": "give --log-format=json",
    "DYN_HTTP_PRE_COMMIT_ERROR_PEEK_MS": "an error before the first byte always has its own status",
    "DYN_TCP_MAX_MESSAGE_SIZE": _PLANE,
    "DYN_FRONTEND_FD_LIMIT_TARGET": "connections are bounded by --http-max-connections",
    "DYN_TOKENIZER_CACHE": "give --tokenize-prefix-cache-bytes",
    "NATS_SERVER": _BROKER,
    "ETCD_AUTH_USERNAME": "etcd is asked without a password; give --etcd-cert-path and --etcd-key-path",
}
"""Variable → what happens here instead; setting one is warned about."""
