"""The independent settings of a pipeline, resolved, and the combinations that cannot work, as one table.

Each knob may be turned alone; what is refused are pairs that contradict each other, with one sentence that
names both settings. A wrong pair is noticed at start, never by a client.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TypeVar

from epp.config.errors import ConfigError
from frontend.config.model import FrontendConfig
from frontend.pipeline.components import Components
from frontend.postprocess.tokens_wire import FORMS

TOKEN_IN: Final = frozenset(FORMS)
"""Engines that take and give token ids."""

_Choice = TypeVar("_Choice", bound=StrEnum)


class Routing(StrEnum):
    """How a request finds its workers."""

    QUERY_ONLY = "query-only"
    DIRECT = "direct-to-known"
    DISCOVER = "discover"


class Postprocess(StrEnum):
    """Who turns token ids into text."""

    ENGINE = "engine"
    FRONTEND = "frontend"


class RouterMode(StrEnum):
    """``--router-mode``: the policy of a discovering router, or ``direct``."""

    ROUND_ROBIN = "round-robin"
    RANDOM = "random"
    KV = "kv"
    TTFT = "ttft"
    LEAST_LOADED = "least-loaded"
    POWER_OF_TWO = "power-of-two"
    SCORERS = "scorers"
    DIRECT = "direct"


@dataclass(frozen=True, slots=True)
class Knobs:
    """What ``build_pipeline`` goes by."""

    routing: Routing
    postprocess: Postprocess
    mode: RouterMode
    migration_limit: int
    queue_max_requests: int


@dataclass(frozen=True, slots=True)
class _Asked:
    knobs: Knobs
    config: FrontendConfig
    components: Components | None


@dataclass(frozen=True, slots=True)
class Contradiction:
    """One row: when it holds, and what the operator is told."""

    name: str
    holds: Callable[[_Asked], bool]
    sentence: str


CONTRADICTIONS: Final[Sequence[Contradiction]] = (
    Contradiction(
        "direct-mode-and-choosing",
        lambda a: a.knobs.mode is RouterMode.DIRECT and a.knobs.routing is not Routing.DIRECT,
        "router_mode direct takes the worker a request names, which contradicts routing {routing}: leave "
        "routing out, or set it to direct-to-known.",
    ),
    Contradiction(
        "direct-and-migration",
        lambda a: a.knobs.routing is Routing.DIRECT and a.knobs.migration_limit > 0,
        "routing direct-to-known cannot be combined with migration_limit {migration}: there is no router "
        "that could find another worker.",
    ),
    Contradiction(
        "direct-and-queue",
        lambda a: a.knobs.routing is Routing.DIRECT and a.knobs.queue_max_requests > 0,
        "routing direct-to-known cannot be combined with queue_max_requests {queue}: whoever chose the "
        "worker decides when it is busy.",
    ),
    Contradiction(
        "query-only-and-migration",
        lambda a: a.knobs.routing is Routing.QUERY_ONLY and a.knobs.migration_limit > 0,
        "routing query-only cannot be combined with migration_limit {migration}: nothing runs that could be "
        "moved.",
    ),
    Contradiction(
        "query-only-and-queue",
        lambda a: a.knobs.routing is Routing.QUERY_ONLY and a.knobs.queue_max_requests > 0,
        "routing query-only cannot be combined with queue_max_requests {queue}: nothing runs that could "
        "wait.",
    ),
    Contradiction(
        "query-only-and-postprocess",
        lambda a: a.knobs.routing is Routing.QUERY_ONLY and a.knobs.postprocess is Postprocess.FRONTEND,
        "routing query-only cannot be combined with postprocess frontend: nothing is generated.",
    ),
    Contradiction(
        "postprocess-without-tokenizer",
        lambda a: a.knobs.postprocess is Postprocess.FRONTEND and not a.config.picker.tokenize.models,
        "postprocess frontend cannot be combined with an empty tokenize.models: without a tokenizer token "
        "ids stay token ids.",
    ),
    Contradiction(
        "postprocess-without-token-in",
        lambda a: a.knobs.postprocess is Postprocess.FRONTEND and _speaks_text_only(a.components),
        "postprocess frontend cannot be combined with the discovered engines: only {token_in} take token ids "
        "and give them back.",
    ),
    Contradiction(
        "disagg-off-and-enforced",
        lambda a: a.config.disagg.enforce and not a.config.disagg.enabled,
        "disagg.enforce cannot be combined with disagg.enabled false: nothing may be split that has to be.",
    ),
    Contradiction(
        "choosing-without-picker",
        lambda a: (
            a.knobs.routing is not Routing.DIRECT and a.components is not None and a.components.picker is None
        ),
        "routing {routing} cannot be combined with a missing picker: somebody has to choose.",
    ),
)
"""Every pair of settings that is refused."""


def knobs_of(config: FrontendConfig, components: Components | None = None) -> Knobs:
    """The knobs of ``config``; raises ConfigError for values nobody knows and for contradictions.

    Without ``components`` only what the configuration says by itself is checked.
    """
    pipeline, tolerance = config.pipeline, config.tolerance
    mode = _one_of(RouterMode, pipeline.router_mode, "router_mode")
    told = pipeline.routing or (Routing.DIRECT if mode is RouterMode.DIRECT else Routing.DISCOVER)
    knobs = Knobs(
        routing=_one_of(Routing, told, "routing"),
        postprocess=_one_of(Postprocess, pipeline.postprocess, "postprocess"),
        mode=mode,
        migration_limit=tolerance.migration_limit,
        queue_max_requests=tolerance.queue_max_requests,
    )
    asked = _Asked(knobs, config, components)
    problems = [_said(row, knobs) for row in CONTRADICTIONS if row.holds(asked)]
    if problems:
        raise ConfigError(*problems)
    return knobs


def _one_of(kind: type[_Choice], value: str, setting: str) -> _Choice:
    try:
        return kind(value)
    except ValueError:
        known = ", ".join(kind)
        raise ConfigError(f"{setting} {value!r} is not known; it is one of {known}.") from None


def _said(row: Contradiction, knobs: Knobs) -> str:
    return row.sentence.format(
        routing=knobs.routing,
        migration=knobs.migration_limit,
        queue=knobs.queue_max_requests,
        token_in=" and ".join(sorted(TOKEN_IN)),
    )


def _speaks_text_only(components: Components | None) -> bool:
    """Some engine is known, and none of them has a token-in API."""
    endpoints = () if components is None else components.snapshot().endpoints
    return bool(endpoints) and TOKEN_IN.isdisjoint(endpoint.engine for endpoint in endpoints)
