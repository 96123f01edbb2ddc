"""From settings to discovery."""

import os
from collections.abc import Mapping

from epp.config.errors import ConfigError
from epp.config.model import PoolConfig
from epp.core.poolrules import PoolRules
from epp.discovery.kubernetes.access import AccessError, find_access
from epp.discovery.kubernetes.discovery import KubernetesDiscovery
from epp.discovery.kubernetes.pool import PoolReference
from epp.discovery.source import DiscoveryMetrics


def pool_reference(pool: PoolConfig) -> PoolReference:
    """The pool that the settings name; raises ConfigError for names, labels or ports that cannot be."""
    try:
        reference = PoolReference(
            namespace=pool.namespace,
            name=pool.name,
            group=pool.group,
            selector=pool.selector,
            target_ports=pool.target_ports,
            kv_events_port=pool.kv_events_port,
            look_s=pool.look_interval_s,
        )
        reference.without_api()
    except ValueError as error:
        raise ConfigError(f"The pool cannot be: {error}.") from error
    return reference


def kubernetes_discovery(
    pool: PoolConfig,
    metrics: DiscoveryMetrics,
    rules: PoolRules | None = None,
    environment: Mapping[str, str] = os.environ,
) -> KubernetesDiscovery:
    """Discovery of that pool, which keeps ``rules`` as its objectives and rewrites say; raises ConfigError,
    also when nothing says where the API is."""
    reference = pool_reference(pool)
    if pool.kubeconfig is not None:
        environment = {**environment, "KUBECONFIG": pool.kubeconfig}
    try:
        return KubernetesDiscovery(reference, find_access(environment), metrics, rules)
    except AccessError as error:
        raise ConfigError(str(error)) from error
