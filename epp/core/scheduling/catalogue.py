"""The built-in plugins by the type names of EndpointPickerConfig, and the types that need none.

Type names are those of llm-d and the Gateway API inference extension, older spellings included, so that
files written for them load unchanged. *Stand-ins* are types whose work is done elsewhere in this picker.
"""

from collections.abc import Callable, Iterable
from typing import TypeAlias

from epp.config.kinds import BOOLEAN, TEXT, choice, whole
from epp.config.tree import Fields
from epp.core.endpoints import Role
from epp.core.scheduling.deciders import AlwaysSplit, PrefixBasedDecider
from epp.core.scheduling.filters.by_label import ByLabelFilter
from epp.core.scheduling.filters.label_selector import LabelSelectorFilter
from epp.core.scheduling.filters.prefix_cache_affinity import PrefixCacheAffinityFilter
from epp.core.scheduling.filters.roles import RoleFilter
from epp.core.scheduling.filters.session_affinity import SessionAffinityFilter
from epp.core.scheduling.filters.utilization import UtilizationFilter
from epp.core.scheduling.handlers import DisaggProfileHandler, SingleProfileHandler
from epp.core.scheduling.pickers import MaxScorePicker, RandomPicker, WeightedRandomPicker
from epp.core.scheduling.plugin import Picker
from epp.core.scheduling.scorers.active_request import ActiveRequestScorer
from epp.core.scheduling.scorers.context_length import ContextLengthAware
from epp.core.scheduling.scorers.header_label_affinity import HeaderLabelAffinityScorer
from epp.core.scheduling.scorers.kv_cache_utilization import KvCacheUtilizationScorer
from epp.core.scheduling.scorers.load_aware import LoadAwareScorer
from epp.core.scheduling.scorers.lora_affinity import LoraAffinityScorer
from epp.core.scheduling.scorers.no_hit_lru import NoHitLruScorer
from epp.core.scheduling.scorers.prefix_cache import PrefixCacheScorer
from epp.core.scheduling.scorers.queue import QueueScorer
from epp.core.scheduling.scorers.running_requests import RunningRequestsScorer
from epp.core.scheduling.scorers.session_affinity import SessionAffinityScorer
from epp.core.scheduling.scorers.token_load import TokenLoadScorer

Factory: TypeAlias = Callable[[Fields], object]
"""Reads its parameters; the caller refuses what is left."""
PickerFactory: TypeAlias = Callable[[Fields, int], Picker]
"""The second argument is how many endpoints to list when the parameters do not say."""

FILTERS: dict[str, Factory] = {
    "label-selector-filter": LabelSelectorFilter.from_fields,
    "by-label-selector": LabelSelectorFilter.from_fields,
    "by-label": ByLabelFilter.from_fields,
    "prefill-filter": lambda _: RoleFilter(Role.PREFILL),
    "decode-filter": lambda _: RoleFilter(Role.DECODE),
    "encode-filter": lambda _: RoleFilter(Role.ENCODE),
    "prefix-cache-affinity-filter": PrefixCacheAffinityFilter.from_fields,
    "session-affinity-filter": SessionAffinityFilter.from_fields,
    "utilization-filter": UtilizationFilter.from_fields,
}
SCORERS: dict[str, Factory] = {
    "queue-scorer": lambda _: QueueScorer(),
    "kv-cache-utilization-scorer": lambda _: KvCacheUtilizationScorer(),
    "kv-cache-scorer": lambda _: KvCacheUtilizationScorer(),
    "prefix-cache-scorer": PrefixCacheScorer.from_fields,
    "precise-prefix-cache-scorer": PrefixCacheScorer.from_precise_fields,
    "lora-affinity-scorer": lambda _: LoraAffinityScorer(),
    "running-requests-size-scorer": lambda _: RunningRequestsScorer(),
    "running-requests-scorer": lambda _: RunningRequestsScorer(),
    "load-aware-scorer": LoadAwareScorer.from_fields,
    "session-affinity-scorer": SessionAffinityScorer.from_fields,
    "active-request-scorer": ActiveRequestScorer.from_fields,
    "token-load-scorer": TokenLoadScorer.from_fields,
    "no-hit-lru-scorer": NoHitLruScorer.from_fields,
    "context-length-aware": ContextLengthAware.from_fields,
    "header-label-affinity-scorer": HeaderLabelAffinityScorer.from_fields,
}
PICKERS: dict[str, PickerFactory] = {
    "max-score-picker": MaxScorePicker.from_fields,
    "random-picker": RandomPicker.from_fields,
    "weighted-random-picker": WeightedRandomPicker.from_fields,
}
HANDLERS: dict[str, Factory] = {
    "single-profile-handler": lambda _: SingleProfileHandler(),
    "disagg-profile-handler": DisaggProfileHandler.from_fields,
    "pd-profile-handler": DisaggProfileHandler.from_pd_fields,
}
DECIDERS: dict[str, Factory] = {
    "prefix-based-pd-decider": PrefixBasedDecider.from_fields,
    "always-disagg-pd-decider": lambda _: AlwaysSplit(),
}

STAND_INS: dict[str, str] = {
    "openai-parser": "request bodies are read by path",
    "anthropic-parser": "request bodies are read by path",
    "vllmhttp-parser": "request bodies are read by path",
    "sglanghttp-parser": "request bodies are read by path",
    "passthrough-parser": "request bodies are read by path",
    "metrics-data-source": "metrics pages are read by the scraper",
    "core-metrics-extractor": "each endpoint names its engine",
    "endpoint-notification-source": "endpoints come from discovery",
    "file-discovery": "it names the endpoints file",
    "token-producer": "prompts are tokenized in this process; give --model-path",
    "tokenizer": "prompts are tokenized in this process; give --model-path",
    "approx-prefix-cache-producer": "resident blocks come from the picker's index",
    "precise-prefix-cache-producer": "resident blocks come from the picker's index",
    "inflight-load-producer": "bookings are the picker's own",
    "session-id-producer": "session plugins read the headers themselves",
    "utilization-detector": "requests are shed by the busy limits of --active-*-threshold",
    "prefill-header-handler": "x-prefiller-host-port follows --emit-prefiller-host-port",
    "disagg-headers-handler": "x-prefiller-host-port follows --emit-prefiller-host-port",
    "header-based-testing-filter": "it turns --conformance on",
    "destination-endpoint-served-verifier": "it turns --conformance on",
}
"""Type → what does its work here. Accepted; parameters change nothing, which is noted."""
_QUIET = frozenset({"metrics-data-source", "file-discovery"})
"""Their parameters are checked, so nothing need be noted."""


def check_stand_in(kind: str, fields: Fields) -> bool:
    """Check a stand-in's parameters; whether they change nothing and deserve a note. Raises ConfigError."""
    if kind == "metrics-data-source":
        for name, says in (("scheme", "http"), ("path", "/metrics")):
            fields.scalar(name, choice(says))
        fields.scalar("port", whole(1, 65535))
        fields.scalar("interval", TEXT)
        fields.scalar("insecureSkipVerify", BOOLEAN)
        fields.end()
    return kind not in _QUIET


def supported() -> str:
    """Every type, by kind, for messages."""
    kinds: dict[str, Iterable[str]] = {
        "filters": FILTERS,
        "scorers": SCORERS,
        "pickers": PICKERS,
        "profile handlers": HANDLERS,
        "deciders": DECIDERS,
    }
    return "; ".join(f"{kind}: {', '.join(types)}" for kind, types in kinds.items())
