"""Endpoints from the Kubernetes API: an InferencePool and the pods it selects."""

from epp.discovery.kubernetes.access import Access, AccessError, find_access
from epp.discovery.kubernetes.discovery import KubernetesDiscovery
from epp.discovery.kubernetes.pool import PoolReference

__all__ = ["Access", "AccessError", "KubernetesDiscovery", "PoolReference", "find_access"]
