"""Which source a configuration asks for."""

import pytest

from epp.config.errors import ConfigError
from epp.config.model import Config, DiscoveryConfig, EtcdConfig
from epp.discovery.etcd import EtcdDiscovery
from epp.discovery.file import FileDiscovery
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
