"""Pods as the API writes them, and the endpoints they are."""

import json
from typing import Any

import pytest

from epp.core.blocks import worker_id_of
from epp.core.endpoints import EngineKind, Role
from epp.wire.kubernetes.api import ApiFormatError
from epp.wire.kubernetes.pods import Pod, Workers, read_pod, workers_of

READY = {"type": "Ready", "status": "True"}


def pod(
    *,
    ip: str = "10.0.0.1",
    conditions: list[Any] | None = None,
    ports: list[Any] | None = None,
    notes: dict[str, str] | None = None,
    labels: dict[str, str] | None = None,
    **meta: Any,
) -> Pod:
    status = {"phase": "Running", "podIP": ip, "conditions": [READY] if conditions is None else conditions}
    tree = {
        "metadata": {"name": "w", "namespace": "ns", "labels": labels, "annotations": notes, **meta},
        "spec": {"containers": [{"ports": ports}]},
        "status": status,
    }
    return read_pod(json.dumps(tree).encode())


def only(workers: Workers) -> Any:
    assert workers.problems == ()
    (endpoint,) = workers.endpoints
    return endpoint


def test_one_port_is_one_endpoint_with_the_pods_name() -> None:
    endpoint = only(workers_of(pod(labels={"app": "vllm"}), (8000,)))
    assert (endpoint.name, endpoint.namespace, endpoint.host_port) == ("w", "ns", "10.0.0.1:8000")
    assert endpoint.worker_id == worker_id_of("ns", "w")
    assert endpoint.labels == {"app": "vllm"}
    assert (endpoint.role, endpoint.engine, endpoint.dp_size) == (Role.AGGREGATED, EngineKind.VLLM, 1)
    assert (endpoint.kv_events, endpoint.kv_replay, endpoint.bootstrap) == (None, None, None)
    assert endpoint.metrics == "http://10.0.0.1:8000/metrics"


def test_every_target_port_is_an_endpoint_of_its_own() -> None:
    notes = {
        "epp/kv-events-port": "5557",
        "epp/kv-replay-port": "6557",
        "epp/dp-size": "2",
        "epp/bootstrap-port": "8998",
    }
    first, second = workers_of(pod(notes=notes), (8000, 8001)).endpoints
    assert (first.name, second.name) == ("w-8000", "w-8001")
    assert first.worker_id != second.worker_id
    assert (first.kv_events, second.kv_events) == ("tcp://10.0.0.1:5557", "tcp://10.0.0.1:5559")
    assert (first.kv_replay, second.kv_replay) == ("tcp://10.0.0.1:6557", "tcp://10.0.0.1:6559")
    assert (first.bootstrap, second.bootstrap) == ("10.0.0.1:8998", "10.0.0.1:8999")


@pytest.mark.parametrize(
    "changes",
    [
        {"conditions": []},
        {"conditions": [{"type": "Ready", "status": "False"}]},
        {"conditions": [{"type": "Ready", "status": "Unknown"}]},
        {"conditions": [{"type": "ContainersReady", "status": "True"}]},
        {"deletionTimestamp": "2026-01-01T00:00:00Z"},
        {"ip": ""},
        {"ip": "not-an-address"},
    ],
)
def test_a_pod_that_does_not_serve_has_no_endpoints(changes: dict[str, Any]) -> None:
    assert workers_of(pod(**changes), (8000,)) == Workers((), ())


def test_a_finished_pod_does_not_serve_whatever_its_conditions_say() -> None:
    tree = {
        "metadata": {"name": "w"},
        "status": {"phase": "Failed", "podIP": "10.0.0.1", "conditions": [READY]},
    }
    assert not read_pod(json.dumps(tree).encode()).serves


def test_ipv6_is_bracketed_and_canonical() -> None:
    endpoint = only(workers_of(pod(ip="fd00:0::A", notes={"epp/kv-events-port": "5557"}), (8000,)))
    assert (endpoint.address, endpoint.host_port) == ("fd00::a", "[fd00::a]:8000")
    assert endpoint.kv_events == "tcp://[fd00::a]:5557"
    assert endpoint.metrics == "http://[fd00::a]:8000/metrics"


def test_of_two_families_the_primary_address_counts() -> None:
    ips = [{"ip": "fd00::1"}, {"ip": "10.0.0.1"}]
    status = {"podIP": "fd00::1", "podIPs": ips, "conditions": [READY]}
    assert read_pod(json.dumps({"metadata": {"name": "w"}, "status": status}).encode()).address == "fd00::1"
    status["podIP"] = ""
    assert read_pod(json.dumps({"metadata": {"name": "w"}, "status": status}).encode()).address == "fd00::1"


@pytest.mark.parametrize(
    ("label", "value", "role"),
    [
        ("epp/role", "prefill", Role.PREFILL),
        ("llm-d.ai/role", "prefill", Role.PREFILL),
        ("llm-d.ai/role", "decode", Role.DECODE),
        ("llm-d.ai/role", "encode", Role.ENCODE),
        ("llm-d.ai/role", "both", Role.AGGREGATED),
        ("llm-d.ai/role", "prefill-decode", Role.AGGREGATED),
        ("llm-d.ai/role", "encode-prefill", Role.PREFILL),
        ("llm-d.ai/role", "encode-prefill-decode", Role.AGGREGATED),
        ("nvidia.com/dynamo-component-type", "prefill", Role.PREFILL),
        ("nvidia.com/dynamo-component-type", "worker", Role.AGGREGATED),
        ("nvidia.com/dynamo-sub-component-type", "decode", Role.DECODE),
        ("dynamo-role", "prefill", Role.PREFILL),
    ],
)
def test_roles_under_everybodys_names(label: str, value: str, role: Role) -> None:
    assert only(workers_of(pod(labels={label: value}), (8000,))).role is role


def test_our_name_goes_first_and_an_annotation_before_a_label() -> None:
    both = pod(labels={"llm-d.ai/role": "prefill", "epp/role": "prefill"}, notes={"epp/role": "decode"})
    assert only(workers_of(both, (8000,))).role is Role.DECODE


def test_what_dynamo_says_of_the_part_goes_before_what_it_says_of_the_whole() -> None:
    labels = {
        "nvidia.com/dynamo-component-type": "worker",
        "nvidia.com/dynamo-sub-component-type": "prefill",
    }
    assert only(workers_of(pod(labels=labels), (8000,))).role is Role.PREFILL


@pytest.mark.parametrize(
    "key", ["epp/engine", "llm-d.ai/engine-type", "inference.networking.k8s.io/engine-type"]
)
def test_engines_under_everybodys_names(key: str) -> None:
    assert only(workers_of(pod(labels={key: "sglang"}), (8000,))).engine is EngineKind.SGLANG


def test_trtllm_has_its_page_elsewhere_and_gives_its_events_over_http() -> None:
    notes = {"epp/engine": "trtllm", "epp/kv-events-port": "8100"}
    first, second = workers_of(pod(notes=notes), (8000, 8001)).endpoints
    assert first.metrics == "http://10.0.0.1:8000/prometheus/metrics"
    assert (first.kv_events, second.kv_events) == ("http://10.0.0.1:8100", "http://10.0.0.1:8101")


def test_ports_by_name_by_default_and_by_annotation() -> None:
    named = [{"name": "kv-events", "containerPort": 7000}, {"name": "kv-replay", "containerPort": 7100}]
    by_name = only(workers_of(pod(ports=named), (8000,), 5557))
    assert (by_name.kv_events, by_name.kv_replay) == ("tcp://10.0.0.1:7000", "tcp://10.0.0.1:7100")
    assert only(workers_of(pod(), (8000,), 5557)).kv_events == "tcp://10.0.0.1:5557"
    noted = only(workers_of(pod(ports=named, notes={"epp/kv-events-port": "7777"}), (8000,), 5557))
    assert noted.kv_events == "tcp://10.0.0.1:7777"


def test_the_metrics_page_can_be_elsewhere() -> None:
    notes = {"epp/metrics-port": "9400", "epp/metrics-path": "/m", "epp/metrics-scheme": "https"}
    first, second = workers_of(pod(notes=notes), (8000, 8001)).endpoints
    assert (first.metrics, second.metrics) == ("https://10.0.0.1:9400/m", "https://10.0.0.1:9401/m")


@pytest.mark.parametrize(
    ("value", "ports"), [("8001", [8001]), ("8000, 8001", [8000, 8001]), ("x,8001", [8001]), ("", [])]
)
def test_a_pod_may_serve_on_some_of_the_ports(value: str, ports: list[int]) -> None:
    noted = pod(notes={"inference.networking.k8s.io/active-ports": value})
    workers = workers_of(noted, (8000, 8001))
    assert [endpoint.port for endpoint in workers.endpoints] == ports
    assert workers.problems == ()


def test_an_endpoint_keeps_its_places_when_others_are_not_active() -> None:
    notes = {"epp/active-ports": "8001", "epp/kv-events-port": "5557"}
    endpoint = only(workers_of(pod(notes=notes), (8000, 8001)))
    assert (endpoint.name, endpoint.kv_events) == ("w-8001", "tcp://10.0.0.1:5558")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("epp/role", "prefil"),
        ("llm-d.ai/role", "decode-"),
        ("epp/engine", "llama"),
        ("llm-d.ai/engine-type", ""),
        ("epp/dp-size", "0"),
        ("epp/dp-size", "-1"),
        ("epp/dp-size", "1025"),
        ("epp/dp-size", "٣"),
        ("epp/kv-events-port", "65536"),
        ("epp/kv-replay-port", "tcp://*:5557"),
        ("epp/bootstrap-port", "x"),
        ("epp/metrics-port", "0"),
        ("epp/metrics-path", "metrics"),
        ("epp/metrics-path", "/a b"),
        ("epp/metrics-scheme", "ftp"),
    ],
)
def test_a_value_that_is_wrong_is_told_and_the_worker_serves_without_it(key: str, value: str) -> None:
    workers = workers_of(pod(notes={key: value}), (8000,))
    (problem,) = workers.problems
    assert problem.startswith(f"pod ns/w: {key} ")
    assert workers.endpoints == workers_of(pod(), (8000,)).endpoints


def test_active_ports_that_the_pool_does_not_have_are_told() -> None:
    workers = workers_of(pod(notes={"epp/active-ports": "9999"}), (8000,))
    assert workers.endpoints == ()
    assert "none of the target ports" in workers.problems[0]


def test_ranks_that_do_not_fit_below_the_last_port_are_told() -> None:
    workers = workers_of(pod(notes={"epp/dp-size": "8"}), (8000, 8001), 65530)
    assert [endpoint.kv_events for endpoint in workers.endpoints] == [None, None]
    assert workers.problems == ("pod ns/w: 16 ports from 65530 on go beyond 65535",)


def test_only_hints_are_kept_of_annotations() -> None:
    assert pod(notes={"big": "x" * 1000, "epp/role": "decode"}).hints == {"epp/role": "decode"}


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"{}", b'{"metadata": {"name": 7}}', b"[" * 100_000])
def test_what_is_no_pod_is_refused(data: bytes) -> None:
    with pytest.raises(ApiFormatError):
        read_pod(data)


def test_dynamos_namespace_goes_before_kubernetes() -> None:
    endpoint = only(workers_of(pod(labels={"nvidia.com/dynamo-namespace": "llama-agg"}), (8000,)))
    assert endpoint.namespace == "llama-agg"
    assert endpoint.worker_id == worker_id_of("llama-agg", "w")
