"""Configuration as frozen records, one per part; each part receives its own and nobody reads globals.

Values here are final: command line, environment and file have been merged (``epp.config.load``) and
checked. Every field says its unit in its name and its meaning below it; help texts and the reference
page (docs/configuration.md) are these docstrings, and :mod:`epp.config.settings` names each field's flag
and variable.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


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
class EtcdConfig:
    """The etcd cluster that endpoints register with (docs/workers.md)."""

    endpoints: tuple[str, ...] = ("http://127.0.0.1:2379",)
    """Client URLs of the cluster's members, tried in turn."""
    prefix: str = "/epp/endpoints/"
    """Keys below it hold one endpoint each, as JSON."""
    ca_path: str | None = None
    """PEM file of the CAs that sign the members' certificates; None: the system's."""
    cert_path: str | None = None
    """PEM file of the client certificate, for clusters that ask for one; goes with the key."""
    key_path: str | None = None
    """PEM file of its key."""


@dataclass(frozen=True, slots=True)
class DiscoveryConfig:
    """Where endpoints come from."""

    backend: str = "file"
    """file | etcd | kubernetes: who says which endpoints there are; a pool or a selector asks Kubernetes."""
    endpoints_file: str | None = None
    """YAML or JSON file of endpoints, watched."""
    poll_interval_s: float = 1.0
    """How often the file is looked at."""
    namespace: str | None = None
    """Take only endpoints of this namespace."""
    namespace_prefix: str | None = None
    """Take only endpoints whose namespace begins so; takes precedence over ``namespace``."""
    etcd: EtcdConfig = EtcdConfig()


@dataclass(frozen=True, slots=True)
class PoolConfig:
    """The Kubernetes pool this picker serves: an InferencePool by name, or pods by labels."""

    name: str | None = None
    """Name of the InferencePool."""
    namespace: str = "default"
    """Namespace of the pool or the pods."""
    group: str = "inference.networking.k8s.io"
    """API group of the InferencePool."""
    selector: str | None = None
    """Labels of the pods (``app=vllm,tier=a``), instead of a pool's name."""
    target_ports: tuple[int, ...] = ()
    """Ports of the pods found by labels, 1 to 8 of them; each is one endpoint."""
    kv_events_port: int | None = None
    """Where pods publish KV events that say nothing themselves; None: they publish none."""
    kubeconfig: str | None = None
    """Kubeconfig file; None: the pod's service account, else ``~/.kube/config``."""
    look_interval_s: float = 30.0
    """Pause between two looks for what is not there: the pool in its other version, objectives, rewrites."""


@dataclass(frozen=True, slots=True)
class ScrapeConfig:
    """Metrics pages of the model servers."""

    enabled: bool = True
    """False: nobody's page is read, and every worker's load is unknown."""
    interval_s: float = 1.0
    """Pause between two reads of one worker."""
    jitter: float = 0.1
    """Fraction of the interval the reads are spread by."""
    timeout_s: float = 2.0
    """Longest one read may take."""
    stale_after_s: float = 5.0
    """A sample older than this counts as unknown."""
    max_page_bytes: int = 8 * 1024 * 1024
    """A larger page is dropped, and the worker's load is unknown."""


@dataclass(frozen=True, slots=True)
class EventsConfig:
    """KV-cache event streams."""

    enabled: bool = True
    """False: every worker is served from predicted blocks."""
    replay_timeout_s: float = 5.0
    """Longest to wait for a replay of missed events."""
    max_message_bytes: int = 64 * 1024 * 1024
    """A larger message is dropped and counts as a gap."""
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
    """Branch, tag or commit of a hub model; None: its default."""


@dataclass(frozen=True, slots=True)
class TokenizeConfig:
    """Tokenization."""

    models: tuple[ModelConfig, ...] = ()
    """Models whose prompts are tokenized here, each with ``name``, ``path``, ``aliases`` and ``revision``."""
    threads: int = 2
    """Threads for prompts too long to tokenize on the event loop."""
    inline_bytes: int = 64 * 1024
    """Text up to this size that the prefix cache does not know is tokenized on the event loop."""
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
    """Weights of the ``kv`` policy (Dynamo's cost function; see epp.core.router.CostParams)."""

    overlap_credit: float = 1.0
    """Blocks credited per block resident on the device; 0 ignores the cache."""
    credit_decay: float = 0.0
    """How fast the credit fades on workers with more queued prefill than the least loaded one."""
    prefill_load_scale: float = 1.0
    """Weight of uncached prefill against decode."""
    host_weight: float = 0.75
    """Credit of a block in host memory, as a fraction of one on the device."""
    disk_weight: float = 0.25
    """Credit of a block on disk, as a fraction of one on the device."""
    active_request_weight: float = 0.0
    """Cost in blocks of each request already running there."""
    temperature: float = 0.0
    """0: least cost wins; above: a draw that prefers low cost, the flatter the higher."""
    assume_kv_reuse: bool = True
    """Equal prompts on one worker share blocks in the decode load."""
    track_prefill_tokens: bool = True
    """Booked prefill counts as load."""


@dataclass(frozen=True, slots=True)
class RoutingConfig:
    """The choice."""

    policy: str = "ttft"
    """ttft | kv | round-robin | random | least-loaded | power-of-two | scorers."""
    core: str = "native"
    """native | python: which implementation of the router decides."""
    cost: CostConfig = CostConfig()
    lease_s: float = 300.0
    """A booking whose stream shows no life for this long is dropped."""
    predicted_ttl_s: float = 120.0
    """How long blocks sent to a worker without events count as resident there."""
    max_bookings: int = 65536
    """Bound of requests on the books; more are refused."""
    max_blocks: int = 64 * 1024 * 1024
    """Bound of (worker, rank, block) triples in the index."""
    default_prefill_tokens_per_s: float = 8000.0
    """Prior of a worker's prefill rate until it is learnt."""
    disagg_enabled: bool = True
    """Split requests over a prefill and a decode worker where both are at hand."""
    disagg_min_uncached_tokens: int = 0
    """Split only if the decode worker lacks at least this many prompt tokens."""
    disagg_min_prompt_tokens: int = 0
    """Split only prompts of at least this many tokens."""
    emit_prefiller_host_port: bool = True
    """Write ``x-prefiller-host-port`` for split requests."""
    inject_token_data: bool = False
    """Splice ``nvext.token_data`` into the forwarded body."""
    inject_cache_salt: bool = True
    """Splice ``cache_salt`` into the forwarded body where a tenant header or ``nvext`` names one: the engine
    must separate caches as the picker does, or nothing ever matches."""
    detached_lease_s: float = 30.0
    """The lease of a booking whose stream is closed after the pick (``skip_response``); every event of its
    request renews it."""
    busy_decode_fraction: float | None = None
    """A rank is busy above this fraction of its KV blocks in decode; None: no such limit."""
    busy_prefill_tokens: int | None = None
    """A rank is busy above this many booked prefill tokens; None: no such limit."""
    busy_prefill_fraction: float | None = None
    """A rank is busy above this fraction of its prefill budget per step; None: no such limit."""
    max_batched_tokens: int = 0
    """The engines' prefill budget per step in tokens, which no metrics page tells; 0: unknown."""
    fallback_endpoints: int = 0
    """Further endpoints listed behind the choice, for gateways that retry along the list."""


@dataclass(frozen=True, slots=True)
class TelemetryConfig:
    """What can be seen."""

    log_level: str = "info"
    """debug | info | warning | error."""
    log_format: str = "text"
    """text | json."""
    recent_picks: int = 512
    """Decisions kept for /debug/picks."""
    keep_candidates: bool = True
    """Keep every candidate's terms with each of those decisions."""
    pool_name: str = "default"
    """Value of the ``name`` label of pool metrics."""


def _no_parameters() -> Mapping[str, Any]:
    return {}


@dataclass(frozen=True, slots=True)
class PluginSpec:
    """One entry of an EndpointPickerConfig's ``plugins``."""

    type: str
    """Which plugin; see docs/plugins.md."""
    name: str
    """What profiles call it; unique, the type when not given."""
    parameters: Mapping[str, Any] = field(default_factory=_no_parameters)
    """A plain tree, checked by the plugin when it is made."""
    path: str = ""
    """Where it stands, for messages."""


@dataclass(frozen=True, slots=True)
class PluginUse:
    """One plugin in a profile."""

    plugin: str
    """Name of a :class:`PluginSpec`."""
    weight: float | None = None
    """Of a scorer's 0..1 in the sum; None: 1."""
    path: str = ""
    """Where it stands, for messages."""


@dataclass(frozen=True, slots=True)
class ProfileSpec:
    """One entry of an EndpointPickerConfig's ``schedulingProfiles``."""

    name: str
    uses: tuple[PluginUse, ...]
    path: str = ""
    """Where it stands, for messages."""


@dataclass(frozen=True, slots=True)
class PickerConfig:
    """What an EndpointPickerConfig says of scheduling (``epp.config.pickerconfig`` reads it)."""

    plugins: tuple[PluginSpec, ...]
    profiles: tuple[ProfileSpec, ...]
    where: str = "the built-in default"
    """The document, for messages."""
    notes: tuple[str, ...] = ()
    """Sentences on parts that are accepted and change nothing here."""


@dataclass(frozen=True, slots=True)
class Config:
    """Everything."""

    config_file: str | None = None
    """Configuration file: these settings as YAML, or an EndpointPickerConfig."""
    config_text: str | None = None
    """The same as text, instead of a file."""
    server: ServerConfig = ServerConfig()
    discovery: DiscoveryConfig = DiscoveryConfig()
    pool: PoolConfig = PoolConfig()
    scrape: ScrapeConfig = ScrapeConfig()
    events: EventsConfig = EventsConfig()
    tokenize: TokenizeConfig = TokenizeConfig()
    routing: RoutingConfig = RoutingConfig()
    telemetry: TelemetryConfig = TelemetryConfig()
    picker: PickerConfig | None = None
    """Plugins and profiles of the ``scorers`` policy; None: its default profile."""
