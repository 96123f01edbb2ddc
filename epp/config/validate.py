"""Settings that contradict each other, as rows; and those that have no effect together.

A row is a question to the configuration and the two settings a message must name. Values out of range
never get here: kinds refuse them one by one.
"""

from collections.abc import Iterator
from itertools import combinations

from epp.config.errors import ConfigError
from epp.config.model import Config
from epp.config.rules import Rule, Sources, broken, said
from epp.config.settings import TABLE

_PORTS = ("grpc_port", "grpc_health_port", "metrics_port")


RULES: tuple[Rule[Config], ...] = (
    Rule(
        lambda c: c.server.tls.cert_path is not None and not c.server.tls.enabled,
        "server.tls.cert_path",
        "server.tls.enabled",
        "a certificate is of no use without TLS",
    ),
    Rule(
        lambda c: c.server.tls.client_ca_path is not None and not c.server.tls.enabled,
        "server.tls.client_ca_path",
        "server.tls.enabled",
        "clients cannot be authenticated without TLS",
    ),
    Rule(
        lambda c: c.server.tls.reload and c.server.tls.cert_path is None,
        "server.tls.reload",
        "server.tls.cert_path",
        "there is no certificate on disk to reload",
        only_if_given=True,
    ),
    Rule(
        lambda c: c.server.skip_response and c.server.observe_response,
        "server.skip_response",
        "server.observe_response",
        "a response that never reaches the picker cannot be observed",
    ),
    Rule(
        lambda c: c.scrape.stale_after_s < c.scrape.interval_s,
        "scrape.stale_after_s",
        "scrape.interval_s",
        "every sample would be stale before the next one is read",
    ),
    Rule(
        lambda c: c.routing.busy_prefill_fraction is not None and c.routing.max_batched_tokens == 0,
        "routing.busy_prefill_fraction",
        "routing.max_batched_tokens",
        "a fraction of an unknown prefill budget limits nothing",
    ),
    Rule(
        lambda c: c.server.skip_response and _keeps_sessions(c),
        "server.skip_response",
        "routing.policy",
        "session affinity gives its token with the response, which is then never seen",
    ),
    Rule(
        lambda c: c.pool.name is not None and c.pool.selector is not None,
        "pool.name",
        "pool.selector",
        "endpoints come from a pool or from labels",
    ),
    Rule(
        lambda c: c.pool.selector is not None and not c.pool.target_ports,
        "pool.selector",
        "pool.target_ports",
        "pods found by labels need 1 to 8 target ports",
    ),
    Rule(
        lambda c: bool(c.pool.target_ports) and c.pool.selector is None,
        "pool.target_ports",
        "pool.selector",
        "target ports belong to pods found by labels; a pool has its own",
    ),
    Rule(
        lambda c: c.discovery.endpoints_file is not None and c.pool.name is not None,
        "discovery.endpoints_file",
        "pool.name",
        "endpoints come from one place",
    ),
    Rule(
        lambda c: c.discovery.endpoints_file is not None and c.pool.selector is not None,
        "discovery.endpoints_file",
        "pool.selector",
        "endpoints come from one place",
    ),
    Rule(
        lambda c: c.discovery.endpoints_file is not None and c.discovery.backend == "etcd",
        "discovery.endpoints_file",
        "discovery.backend",
        "endpoints come from one place",
    ),
    Rule(
        lambda c: c.discovery.backend == "kubernetes" and c.pool.name is None and c.pool.selector is None,
        "discovery.backend",
        "pool.name",
        "Kubernetes is asked for a pool by its name, or for pods by their labels",
    ),
    Rule(
        lambda c: c.discovery.backend == "etcd" and c.pool.name is not None,
        "discovery.backend",
        "pool.name",
        "endpoints come from one place",
    ),
    Rule(
        lambda c: c.discovery.backend == "etcd" and c.pool.selector is not None,
        "discovery.backend",
        "pool.selector",
        "endpoints come from one place",
    ),
    Rule(
        lambda c: (c.discovery.etcd.cert_path is None) != (c.discovery.etcd.key_path is None),
        "discovery.etcd.cert_path",
        "discovery.etcd.key_path",
        "a certificate and its key go together",
    ),
)


def _keeps_sessions(config: Config) -> bool:
    plugins = config.picker.plugins if config.picker is not None else ()
    return config.routing.policy == "scorers" and any(p.type.startswith("session-affinity") for p in plugins)


def contradictions(config: Config, sources: Sources) -> list[str]:
    """One sentence for each pair of settings that cannot be together, naming both."""
    return [*broken(RULES, TABLE, config, sources), *_same_ports(config, sources)]


def _same_ports(config: Config, sources: Sources) -> Iterator[str]:
    for one, other in combinations(_PORTS, 2):
        port = getattr(config.server, one)
        if port != 0 and port == getattr(config.server, other):
            first, second = (_said(f"server.{name}", config, sources) for name in (one, other))
            yield f"{first} and {second} contradict each other: each needs a port of its own."


def require_endpoints(config: Config) -> None:
    """Refuse to serve when nothing names the endpoints; raises ConfigError."""
    discovery, pool = config.discovery, config.pool
    named = discovery.endpoints_file is not None or pool.name is not None or pool.selector is not None
    if discovery.backend == "file" and not named:
        raise ConfigError(
            "Nothing names the endpoints: give --endpoints-file, --pool-name, --endpoint-selector, or"
            " --discovery-backend=etcd."
        )


def remarks(config: Config, sources: Sources) -> tuple[str, ...]:
    """Sentences on parts of the configuration that are accepted and have no effect."""
    if config.picker is None:
        return ()
    unused: tuple[str, ...] = ()
    if config.routing.policy != "scorers":
        chosen = _said("routing.policy", config, sources)
        unused = (f"The profiles of {config.picker.where} have no effect: {chosen} chooses another policy.",)
    return (*config.picker.notes, *unused)


def _said(path: str, config: Config, sources: Sources) -> str:
    return said(TABLE, path, config, sources)
