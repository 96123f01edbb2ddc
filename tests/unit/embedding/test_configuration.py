"""The text a host gives: the picker's configuration, and endpoints in place."""

import json

import pytest

from epp.config.errors import ConfigError
from epp.embedding.configuration import read

POOL = {"endpoints": [{"name": "a", "address": "10.0.0.1", "port": 8000}]}


def refused(document: object, environ: dict[str, str] | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        read(json.dumps(document).encode(), environ or {})
    return str(caught.value)


def test_endpoints_in_place_and_settings_beside_them() -> None:
    given = read(json.dumps(POOL | {"routing": {"policy": "ttft"}}).encode(), {})
    assert given.endpoints is not None
    assert [endpoint.host_port for endpoint in given.endpoints] == ["10.0.0.1:8000"]
    assert given.loaded.config.routing.policy == "ttft"


def test_endpoints_of_a_file() -> None:
    given = read(b"discovery: {endpoints_file: pool.yaml}", {})
    assert given.endpoints is None
    assert given.loaded.config.discovery.endpoints_file == "pool.yaml"


def test_the_environment_beats_the_text() -> None:
    given = read(json.dumps(POOL | {"routing": {"policy": "ttft"}}).encode(), {"EPP_POLICY": "kv"})
    assert given.loaded.config.routing.policy == "kv"


def test_an_endpoint_picker_config_beside_endpoints() -> None:
    text = {
        "apiVersion": "llm-d.ai/v1alpha1",
        "kind": "EndpointPickerConfig",
        "plugins": [{"type": "queue-scorer"}],
    }
    given = read(json.dumps(POOL | text).encode(), {})
    assert given.loaded.config.routing.policy == "scorers"
    assert given.endpoints


@pytest.mark.parametrize(
    ("document", "sentence"),
    [
        ({}, "lists no endpoints"),
        ({"endpoints": 7}, "endpoints in the given configuration"),
        ({"endpoints": [{"name": "a"}]}, "endpoints in the given configuration"),
        ({"endpoints": [{"name": "a", "address": "host.example", "port": 1}]}, "'a' is a name"),
        ({"endpoints": POOL["endpoints"] * 2}, "endpoints in the given configuration"),
        (POOL | {"nonsense": 1}, "nonsense in the given configuration"),
        (POOL | {"discovery": {"endpoints_file": "x"}}, "contradict each other"),
    ],
)
def test_what_is_wrong_is_said(document: object, sentence: str) -> None:
    assert sentence in refused(document)


def test_another_source_in_the_environment_contradicts_too() -> None:
    assert "EPP_ENDPOINTS_FILE" in refused(POOL, {"EPP_ENDPOINTS_FILE": "pool.yaml"})
