"""Flags and variables of other pickers that are not settings here.

Charts and manifests written for llm-d, the Gateway API inference extension and Dynamo pass them. One
whose absence changes nothing a client could notice is accepted, with a warning that says what happens
instead; one that would silently lose what was asked for (security, correctness) is refused by name.
"""

from dataclasses import dataclass

_LOGS = "logs follow --log-level and --log-format"
_METRIC_NAMES = "metric names follow each endpoint's engine kind"


@dataclass(frozen=True, slots=True)
class ForeignFlag:
    """A flag of another picker."""

    name: str
    """Without dashes."""
    instead: str
    """What happens here, or what to do; completes a sentence."""
    harmless: tuple[str, ...] | None = None
    """Values that may be accepted, lower case; None: any value."""
    quiet: bool = False
    """The harmless values ask for what happens anyway: accepted without a warning."""
    is_boolean: bool = False
    is_negatable: bool = False
    """``--no-NAME`` is known too."""
    env: str = ""
    """A variable that says the same; empty: none."""
    anyway: tuple[str, ...] = ()
    """Values, lower case, that ask for what happens anyway: accepted without a warning."""
    default: str = ""
    """What it is where it comes from."""

    def accepts(self, text: str) -> bool:
        """Whether this value may be ignored."""
        return self.harmless is None or text.strip().lower() in self.harmless

    def warns(self, text: str) -> bool:
        """Whether ignoring this value is worth a sentence."""
        return not self.quiet and text.strip().lower() not in self.anyway


def _ignored(name: str, instead: str, *, boolean: bool = False) -> ForeignFlag:
    return ForeignFlag(name, instead, is_boolean=boolean)


def _only(name: str, instead: str, *harmless: str, boolean: bool = False) -> ForeignFlag:
    return ForeignFlag(name, instead, harmless, quiet=True, is_boolean=boolean)


_NO = ("false", "f", "0", "")
_OLD_TLS = ("versiontls10", "versiontls11", "versiontls12", "")

FOREIGN_FLAGS: tuple[ForeignFlag, ...] = (
    _ignored("v", _LOGS),
    _ignored("zap-devel", _LOGS, boolean=True),
    _ignored("zap-encoder", _LOGS),
    _ignored("zap-log-level", _LOGS),
    _ignored("zap-stacktrace-level", _LOGS),
    _ignored("zap-time-encoding", _LOGS),
    _ignored("ha-enable-leader-election", "every replica serves; there is no leader", boolean=True),
    _ignored("refresh-prometheus-metrics-interval", "metrics are computed when they are read"),
    _ignored("health-checking", "the health port is always served", boolean=True),
    _ignored("tracing", "no traces are emitted", boolean=True),
    _ignored("enable-pprof", "there is no Go profile to serve", boolean=True),
    _ignored("enable-grpc-stream-metrics", "stream metrics are always served", boolean=True),
    _ignored("emit-endpoint-scores", "scores of recent picks are at /debug/picks", boolean=True),
    _ignored("allow-experimental-plugins", "plugins have no stability levels", boolean=True),
    _ignored("grpc-max-recv-msg-size", "messages are bounded by --max-body-bytes"),
    _ignored("grpc-max-send-msg-size", "messages are bounded by --max-body-bytes"),
    _only(
        "disable-endpoint-subset-filter",
        "the endpoints a gateway allows are always honoured",
        *_NO,
        boolean=True,
    ),
    _only(
        "metrics-endpoint-auth",
        "the metrics port has no authentication; give =false and restrict who can reach the port",
        *_NO,
        boolean=True,
    ),
    _only("metrics-cert-dir", "the metrics port serves plaintext HTTP", ""),
    _only("metrics-client-ca-file", "the metrics port serves plaintext HTTP", ""),
    _only("tls-min-version", "TLS 1.2 and 1.3 are served, and no other minimum can be set", *_OLD_TLS),
    _only("tls-cipher-suites", "the cipher suites of the TLS library are used", ""),
    _only("total-queued-requests-metric", _METRIC_NAMES, ""),
    _only("total-running-requests-metric", _METRIC_NAMES, ""),
    _only("kv-cache-usage-percentage-metric", _METRIC_NAMES, ""),
    _only("lora-info-metric", _METRIC_NAMES, ""),
    _only("cache-info-metric", _METRIC_NAMES, ""),
)

FOREIGN_VARIABLES: dict[str, str] = {
    "DYN_EPP_MODE": "there is one mode",
    "DYN_EPP_TOKENIZER_SERVICE_URL": "prompts are tokenized in this process; give --model-path",
    "DYN_EPP_TOKENIZER_PROTOCOL": "prompts are tokenized in this process; give --model-path",
    "DYN_EPP_TOKENIZER_MAX_RESPONSE_BYTES": "prompts are tokenized in this process",
    "DYN_KV_CACHE_BLOCK_SIZE": "each worker's block size is learnt from its events or metrics",
    "DYN_EPP_TOTAL_KV_BLOCKS": "each worker's capacity is learnt from its metrics",
    "DYN_EPP_KV_EVENT_REPLAY_PORT": "give kv_replay in the endpoints file, or epp/kv-replay-port at pods",
    "DYN_EPP_KV_EVENT_TOPIC": "every topic of an endpoint's event socket is read",
    "DYN_EPP_SELECTION_INDEXER_THREADS": "the index needs no threads of its own",
    "DYN_EPP_SELECTION_HTTP_PORT": "picks are shown on the metrics port",
    "DYN_EPP_TOPOLOGY_MODE": "roles are read from the endpoints",
    "DYN_ENFORCE_DISAGG": "roles are read from the endpoints",
}
"""Dynamo's variable → what happens here instead; setting one is warned about."""
