"""Which source a configuration asks for."""

from pathlib import Path

import pytest

from epp.config.errors import ConfigError
from epp.config.model import Config, DiscoveryConfig, EtcdConfig, PoolConfig
from epp.discovery.etcd import EtcdDiscovery
from epp.discovery.file import FileDiscovery
from epp.discovery.kubernetes import KubernetesDiscovery
from epp.discovery.memory import MemoryDiscovery
from epp.discovery.namespaces import NamespaceDiscovery
from epp.engine import make_catalog, make_discovery


@pytest.mark.parametrize(
    ("asked", "kind"),
    [
        (DiscoveryConfig(endpoints_file="e.yaml"), FileDiscovery),
        (DiscoveryConfig(backend="etcd"), EtcdDiscovery),
        (DiscoveryConfig(backend="mem"), MemoryDiscovery),
        (DiscoveryConfig(endpoints_file="e.yaml", namespace="ns"), NamespaceDiscovery),
        (DiscoveryConfig(backend="etcd", namespace_prefix="ns"), NamespaceDiscovery),
    ],
)
def test_sources(asked: DiscoveryConfig, kind: type) -> None:
    assert type(make_discovery(Config(discovery=asked), make_catalog())) is kind


def test_certificates_that_cannot_be_read() -> None:
    etcd = EtcdConfig(endpoints=("https://127.0.0.1:1",), ca_path="/no/such/file")
    with pytest.raises(ConfigError, match="certificates for etcd"):
        make_discovery(Config(discovery=DiscoveryConfig(backend="etcd", etcd=etcd)), make_catalog())


def test_etcd_is_a_problem_until_it_was_asked() -> None:
    assert EtcdDiscovery(EtcdConfig()).problem == "etcd was not asked yet"


def test_a_pool_or_a_selector_asks_kubernetes(tmp_path: Path) -> None:
    kubeconfig = tmp_path / "config"
    kubeconfig.write_text(
        "{current-context: c, contexts: [{name: c, context: {cluster: k}}],"
        " clusters: [{name: k, cluster: {server: 'http://api:8080'}}]}"
    )
    by_name = PoolConfig(name="p", kubeconfig=str(kubeconfig))
    by_labels = PoolConfig(selector="app=a", target_ports=(8000,), kubeconfig=str(kubeconfig))
    for pool in (by_name, by_labels):
        made = make_discovery(Config(pool=pool), make_catalog())
        assert isinstance(made, KubernetesDiscovery)
        assert made.problem is not None
        assert not made.snapshot.endpoints


@pytest.mark.parametrize(
    ("pool", "says"),
    [
        (PoolConfig(name="A/b"), "is no name"),
        (PoolConfig(selector="app", target_ports=(1,)), "is not LABEL=VALUE"),
        (PoolConfig(selector="app=a", target_ports=(1, 1)), "stands twice"),
        (PoolConfig(name="p", kubeconfig="/no/such/file"), "No such file"),
    ],
)
def test_pools_that_cannot_be(pool: PoolConfig, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        make_discovery(Config(pool=pool), make_catalog())
