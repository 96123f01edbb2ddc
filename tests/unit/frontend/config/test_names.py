"""Every flag and variable of Dynamo's frontend is known here, with its default or a sentence.

The lists are those of its configuration reference and of its 1.6.1 release.
"""

import pytest

from epp.config.foreign import ForeignFlag
from epp.config.table import shown_value
from frontend.config.settings import TABLE

FLAGS = """
http-host DYN_HTTP_HOST 0.0.0.0
http-port DYN_HTTP_PORT 8000
tls-cert-path DYN_TLS_CERT_PATH none
tls-key-path DYN_TLS_KEY_PATH none
router-mode DYN_ROUTER_MODE round-robin
router-kv-overlap-score-weight DYN_ROUTER_KV_OVERLAP_SCORE_WEIGHT 1.0
router-temperature DYN_ROUTER_TEMPERATURE 0.0
router-kv-events DYN_ROUTER_USE_KV_EVENTS true
router-ttl-secs DYN_ROUTER_TTL_SECS 120.0
router-max-tree-size DYN_ROUTER_MAX_TREE_SIZE 1048576
router-prune-target-ratio DYN_ROUTER_PRUNE_TARGET_RATIO 0.8
router-replica-sync DYN_ROUTER_REPLICA_SYNC false
router-snapshot-threshold DYN_ROUTER_SNAPSHOT_THRESHOLD 1000000
router-reset-states DYN_ROUTER_RESET_STATES false
router-track-active-blocks DYN_ROUTER_TRACK_ACTIVE_BLOCKS true
router-assume-kv-reuse DYN_ROUTER_ASSUME_KV_REUSE true
router-track-output-blocks DYN_ROUTER_TRACK_OUTPUT_BLOCKS false
router-event-threads DYN_ROUTER_EVENT_THREADS 4
router-queue-threshold DYN_ROUTER_QUEUE_THRESHOLD 2.0
router-queue-policy DYN_ROUTER_QUEUE_POLICY fcfs
enable-cache-control DYN_ENABLE_CACHE_CONTROL false
decode-fallback DYN_DECODE_FALLBACK false
migration-limit DYN_MIGRATION_LIMIT 0
active-decode-blocks-threshold DYN_ACTIVE_DECODE_BLOCKS_THRESHOLD none
active-prefill-tokens-threshold DYN_ACTIVE_PREFILL_TOKENS_THRESHOLD none
active-prefill-tokens-threshold-frac DYN_ACTIVE_PREFILL_TOKENS_THRESHOLD_FRAC none
namespace DYN_NAMESPACE none
namespace-prefix DYN_NAMESPACE_PREFIX none
model-name DYN_MODEL_NAME none
model-path DYN_MODEL_PATH none
kv-cache-block-size DYN_KV_CACHE_BLOCK_SIZE none
discovery-backend DYN_DISCOVERY_BACKEND etcd
request-plane DYN_REQUEST_PLANE tcp
event-plane DYN_EVENT_PLANE nats
kserve-grpc-server DYN_KSERVE_GRPC_SERVER false
grpc-metrics-port DYN_GRPC_METRICS_PORT 8788
metrics-prefix DYN_METRICS_PREFIX dynamo_frontend
dump-config-to DYN_DUMP_CONFIG_TO none
enable-anthropic-api DYN_ENABLE_ANTHROPIC_API false
dyn-chat-processor DYN_CHAT_PROCESSOR dynamo
dyn-debug-perf DYN_DEBUG_PERF false
dyn-preprocess-workers DYN_PREPROCESS_WORKERS 0
interactive DYN_INTERACTIVE false
router-durable-kv-events DYN_ROUTER_DURABLE_KV_EVENTS false
tls-client-ca-cert-path DYN_TLS_CLIENT_CA_CERT_PATH none
serve-indexer DYN_SERVE_INDEXER false
use-remote-indexer DYN_USE_REMOTE_INDEXER false
enable-session-prefix-index DYN_ENABLE_SESSION_PREFIX_INDEX false
router-kv-overlap-score-credit DYN_ROUTER_KV_OVERLAP_SCORE_CREDIT 1.0
router-kv-overlap-score-credit-decay DYN_ROUTER_KV_OVERLAP_SCORE_CREDIT_DECAY 0.0
router-prefill-load-scale DYN_ROUTER_PREFILL_LOAD_SCALE 1.0
router-decode-active-request-weight DYN_ROUTER_DECODE_ACTIVE_REQUEST_WEIGHT 0.0
router-host-cache-hit-weight DYN_ROUTER_HOST_CACHE_HIT_WEIGHT 0.75
router-disk-cache-hit-weight DYN_ROUTER_DISK_CACHE_HIT_WEIGHT 0.25
shared-cache-multiplier DYN_SHARED_CACHE_MULTIPLIER 0.0
shared-cache-type DYN_SHARED_CACHE_TYPE none
load-aware DYN_LOAD_AWARE false
router-track-prefill-tokens DYN_ROUTER_TRACK_PREFILL_TOKENS true
router-prefill-load-model DYN_ROUTER_PREFILL_LOAD_MODEL none
ais-perf-config DYN_AIS_PERF_CONFIG none
router-tracking-hash DYN_ROUTER_TRACKING_HASH public-xxh3-v1
router-tracking-key-file DYN_ROUTER_TRACKING_KEY_FILE none
router-tracking-key-id DYN_ROUTER_TRACKING_KEY_ID none
router-approximate-cache-policy DYN_ROUTER_APPROXIMATE_CACHE_POLICY ttl
router-predicted-ttl-secs DYN_ROUTER_PREDICTED_TTL_SECS none
router-policy-config DYN_ROUTER_POLICY_CONFIG none
router-prefill-policy DYN_ROUTER_PREFILL_POLICY none
router-decode-policy DYN_ROUTER_DECODE_POLICY none
router-conditional-disagg DYN_ROUTER_CONDITIONAL_DISAGG false
router-conditional-disagg-config DYN_ROUTER_CONDITIONAL_DISAGG_CONFIG none
router-session-affinity-ttl-secs DYN_ROUTER_SESSION_AFFINITY_TTL_SECS none
router-session-affinity-mode DYN_ROUTER_SESSION_AFFINITY_MODE hard
router-min-initial-workers DYN_ROUTER_MIN_INITIAL_WORKERS 0
migration-max-seq-len DYN_MIGRATION_MAX_SEQ_LEN none
frontend-route-extension DYN_FRONTEND_ROUTE_EXTENSION none
response-plane DYN_RESPONSE_PLANE tcp
strip-anthropic-preamble DYN_STRIP_ANTHROPIC_PREAMBLE true
enable-streaming-tool-dispatch DYN_ENABLE_STREAMING_TOOL_DISPATCH false
enable-streaming-reasoning-dispatch DYN_ENABLE_STREAMING_REASONING_DISPATCH false
reasoning-field-name DYN_REASONING_FIELD_NAME reasoning_content
exclude-tools-when-tool-choice-none DYN_EXCLUDE_TOOLS_WHEN_TOOL_CHOICE_NONE true
tokenizer DYN_TOKENIZER default
tokenizer-fallback DYN_TOKENIZER_FALLBACK none
trust-remote-code DYN_TRUST_REMOTE_CODE false
admission-control DYN_ADMISSION_CONTROL none
enforce-disagg DYN_ENFORCE_DISAGG false
"""
VARIABLES = """
DYN_HTTP_BODY_LIMIT_MB 201326592
DYN_HTTP_GRACEFUL_SHUTDOWN_TIMEOUT_SECS 5.0
DYN_HTTP_LISTEN_BACKLOG 4096
DYN_HTTP_OVERLOAD_STATUS_CODE 529
DYN_HTTP_SSE_KEEP_ALIVE_INTERVAL_MS 0.0
DYN_DISABLE_FRONTEND_ADMIN_API true
DYN_DISABLE_FRONTEND_NVEXT true
DYN_HTTP_SVC_CHAT_PATH_ENV /v1/chat/completions
DYN_HTTP_SVC_CMP_PATH_ENV /v1/completions
DYN_HTTP_SVC_EMB_PATH_ENV /v1/embeddings
DYN_HTTP_SVC_RESPONSES_PATH_ENV /v1/responses
DYN_HTTP_SVC_MODELS_PATH_ENV /v1/models
DYN_HTTP_SVC_ANTHROPIC_PATH_ENV /v1/messages
DYN_HTTP_SVC_HEALTH_PATH_ENV /health
DYN_HTTP_SVC_LIVE_PATH_ENV /live
DYN_HTTP_SVC_METRICS_PATH_ENV /metrics
"""
"""Variables without a flag there; the third switch is written the other way round here."""
NOTED = (
    "DYN_HTTP_PRE_COMMIT_ERROR_PEEK_MS", "DYN_TCP_MAX_MESSAGE_SIZE", "DYN_FRONTEND_FD_LIMIT_TARGET",
    "DYN_TOKENIZER_CACHE",
)  # fmt: skip


def rows(text: str) -> list[list[str]]:
    return [line.split() for line in text.split("\n") if line]


def known() -> dict[str, tuple[tuple[str, ...], str]]:
    """Flag → its variables and its default."""
    found: dict[str, tuple[tuple[str, ...], str]] = {}
    for setting in TABLE.settings:
        default = shown_value(TABLE.defaults.get(setting.path))
        for name in (setting.flag, *setting.former):
            found[name] = (setting.env, default)
    for flag in TABLE.foreign_flags:
        found[flag.name] = ((flag.env,), flag.default or "none")
    return found


@pytest.mark.parametrize(("flag", "variable", "default"), rows(FLAGS))
def test_flags(flag: str, variable: str, default: str) -> None:
    variables, here = known()[flag]
    assert variable in variables
    assert here == default


@pytest.mark.parametrize(("variable", "default"), rows(VARIABLES))
def test_variables(variable: str, default: str) -> None:
    (setting,) = [setting for setting in TABLE.settings if variable in setting.env]
    assert shown_value(TABLE.defaults[setting.path]) == default


def test_variables_without_effect() -> None:
    assert set(NOTED) <= set(TABLE.foreign_variables)


def test_a_default_that_cannot_be_had_is_never_asked_for_silently() -> None:
    """What is refused is refused when it is asked for; the default there may well be one (``nats``)."""
    refused = [flag.name for flag in TABLE.foreign_flags if flag.default and not flag.accepts(flag.default)]
    assert refused == ["event-plane"]


@pytest.mark.parametrize("flag", TABLE.foreign_flags, ids=lambda flag: flag.name)
def test_sentences(flag: ForeignFlag) -> None:
    assert flag.instead
    assert not flag.instead.endswith(".")
