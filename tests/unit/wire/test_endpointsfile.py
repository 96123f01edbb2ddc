"""Endpoints files: what is taken, and how what is not is named."""

from pathlib import Path

import pytest

from epp.core.blocks import worker_id_of
from epp.core.endpoints import Endpoint, EngineKind, Role
from epp.wire.endpointsfile import MAX_FILE_BYTES, EndpointsFileError, is_literal, parse

GOLDEN = Path(__file__).parents[2] / "golden" / "endpoints"
REFUSED = sorted((GOLDEN / "refused").iterdir())


def accepted(name: str) -> tuple[Endpoint, ...]:
    return parse((GOLDEN / "accepted" / name).read_bytes())


def test_llm_d_files_work_unchanged() -> None:
    first, second = accepted("llm-d.yaml")
    assert (first.host_port, first.engine, first.role) == ("10.0.0.1:8000", EngineKind.SGLANG, Role.PREFILL)
    assert first.labels["model"] == "llama-3-8b"
    assert (second.engine, second.role, second.kv_events) == (EngineKind.VLLM, Role.AGGREGATED, None)
    assert second.worker_id == worker_id_of("default", "vllm-1")
    assert second.metrics_url == "http://10.0.0.2:8000/metrics"


def test_every_field_of_ours() -> None:
    decode, prefill, trt = accepted("full.yaml")
    assert decode == Endpoint(
        name="vllm-0",
        namespace="serving",
        address="fd00::1",
        port=8000,
        labels={"model": "llama-3-8b"},
        worker_id=7,
        role=Role.DECODE,
        dp_size=2,
        kv_events="tcp://[fd00::1]:5557",
        kv_replay="tcp://[fd00::1]:5560",
        metrics="https://metrics.local/m?x=1",
    )
    assert (prefill.address, prefill.bootstrap) == ("node-3.cluster.local", "10.0.0.9:8998")
    assert (trt.engine, trt.kv_events) == (EngineKind.TRTLLM, "http://10.0.0.4:8000")
    assert trt.metrics_url == "http://10.0.0.4:8000/prometheus/metrics"


def test_json_and_an_empty_pool() -> None:
    assert [endpoint.name for endpoint in accepted("tabs.json")] == ["a"]
    assert accepted("empty.yaml") == ()


@pytest.mark.parametrize("path", REFUSED, ids=lambda path: path.stem)
def test_refusals_name_entry_and_field(path: Path) -> None:
    data = path.read_bytes()
    expected = data.splitlines()[0].removeprefix(b"# ").decode()
    with pytest.raises(EndpointsFileError) as caught:
        parse(data)
    assert expected in str(caught.value)


@pytest.mark.parametrize("data", [b"", b"\xff\xfe", b"endpoints:\n", b"[" * 100_000, b"a: &a [*a]"])
def test_what_is_no_endpoints_file(data: bytes) -> None:
    with pytest.raises(EndpointsFileError):
        parse(data)


def test_the_size_is_bounded() -> None:
    with pytest.raises(EndpointsFileError, match="larger than"):
        parse(b" " * (MAX_FILE_BYTES + 1))


@pytest.mark.parametrize(
    ("address", "literal"), [("10.0.0.1", True), ("::1", True), ("host", False), ("[::1]", False)]
)
def test_literals(address: str, literal: bool) -> None:
    assert is_literal(address) is literal
