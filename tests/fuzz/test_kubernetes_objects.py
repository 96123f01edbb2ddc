"""The Kubernetes API's answers are foreign bytes: whatever comes ends as records or as one kind of error."""

import json
from contextlib import suppress
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from epp.core.endpoints import PoolSnapshot
from epp.discovery.kubernetes.pods import PodStore
from epp.wire.kubernetes.api import (
    ApiFormatError,
    EventKind,
    parse_selector,
    read_event,
    read_page,
    read_status,
    selector_text,
    version_in,
)
from epp.wire.kubernetes.execplugin import (
    EXTENSION,
    VERSIONS,
    PluginError,
    exec_info,
    read_credential,
    read_plugin,
)
from epp.wire.kubernetes.kubeconfig import KubeconfigError, parse_kubeconfig
from epp.wire.kubernetes.objectives import read_objective, read_rewrite, rewrites_of
from epp.wire.kubernetes.pods import read_pod, workers_of
from epp.wire.kubernetes.pools import GROUP_V1, GROUP_V1ALPHA2, read_pool

WORDS = """metadata name namespace labels annotations resourceVersion continue items type object spec
status containers ports containerPort podIP podIPs ip conditions phase deletionTimestamp selector matchLabels
targetPorts number targetPortNumber poolRef priority rules matches model value
targets modelRewrite weight message reason code current-context contexts context clusters cluster
users user server certificate-authority-data token exec apiVersion command args env interactiveMode
provideClusterInfo extensions extension kind clientCertificateData clientKeyData
expirationTimestamp""".split()  # noqa: SIM905 -- they read best as words
VALUES = [VERSIONS[0], EXTENSION, "ExecCredential", "Never", "2026-01-01T00:00:00Z"]
VALUES += ["Ready", "True", "ADDED", "ERROR", "10.0.0.1", "fd00::1", "kv-events", "https://a", "65535", "-1"]
KEYS = [
    *(
        "epp/role",
        "epp/engine",
        "epp/dp-size",
        "epp/kv-events-port",
        "epp/metrics-path",
        "epp/metrics-scheme",
    ),
    *("epp/active-ports", "llm-d.ai/role", "nvidia.com/dynamo-component-type"),
]
scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.sampled_from(VALUES)
)
trees = st.recursive(
    scalars,
    lambda below: st.one_of(
        st.lists(below, max_size=3), st.dictionaries(st.sampled_from(WORDS), below, max_size=5)
    ),
    max_leaves=20,
)
hints = st.dictionaries(
    st.sampled_from(KEYS), st.one_of(st.text(max_size=8), st.sampled_from(VALUES)), max_size=6
)


def read(body: bytes) -> None:
    readers = (
        lambda: read_page(body),
        lambda: version_in(read_event(body).object),
        lambda: workers_of(read_pod(body), (8000,)),
        lambda: read_pool(body, GROUP_V1),
        lambda: read_pool(body, GROUP_V1ALPHA2),
        lambda: read_objective(body),
        lambda: rewrites_of([read_rewrite(body)]),
        lambda: parse_kubeconfig(body),
        lambda: read_credential(body, VERSIONS[0]),
    )
    read_status(body)
    for reader in readers:
        with suppress(ApiFormatError, KubeconfigError, PluginError):
            reader()


@given(st.binary(max_size=200))
def test_any_bytes(body: bytes) -> None:
    read(body)


@given(trees)
def test_any_tree_of_known_words(tree: Any) -> None:
    read(json.dumps(tree).encode())


entries = st.dictionaries(st.sampled_from(["args", "env", "installHint"]), trees)


@given(entries, trees)
def test_any_plugin_is_refused_or_can_be_told_of_its_cluster(entry: dict[str, Any], told: Any) -> None:
    fixed = {"apiVersion": VERSIONS[1], "command": "c", "provideClusterInfo": True}
    cluster = {"extensions": [{"name": EXTENSION, "extension": told}]}
    try:
        plugin = read_plugin({"exec": {**entry, **fixed}}, cluster)
    except PluginError:
        return
    assert plugin is not None
    said = json.loads(exec_info(plugin, "QQ=="))
    assert said["spec"]["cluster"]["certificate-authority-data"] == "QQ=="
    assert all("\0" not in text for pair in plugin.env for text in pair)


@given(st.lists(st.tuples(st.sampled_from("abc"), hints, st.sampled_from(VALUES), st.booleans()), max_size=6))
def test_any_hints_give_a_pool(pods: list[tuple[str, dict[str, str], str, bool]]) -> None:
    """Whatever labels and addresses there are, what is published is a pool, with usable ports."""
    store = PodStore((8000, 8001), 5557)
    for name, noted, address, there in pods:
        status = {"podIP": address, "conditions": [{"type": "Ready", "status": "True"}]}
        tree = {"metadata": {"name": name, "annotations": noted}, "status": status}
        kind = EventKind.MODIFIED if there else EventKind.DELETED
        store.apply(kind, msgspec.Raw(json.dumps(tree).encode()))
    snapshot = PoolSnapshot.of(store.distinct_endpoints())
    assert {e.host_port for e in snapshot.endpoints} == {e.host_port for e in store.endpoints()}
    for endpoint in snapshot.endpoints:
        assert 1 <= endpoint.dp_size <= 1024


@given(st.text(max_size=40))
def test_a_selector_is_read_and_written_or_refused(text: str) -> None:
    try:
        labels = parse_selector(text)
    except ValueError:
        return
    assert parse_selector(selector_text(labels)) == labels
