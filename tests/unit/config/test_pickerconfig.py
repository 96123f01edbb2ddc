"""The shape of EndpointPickerConfig: what loads, what is injected, what is refused and where."""

import pytest

from epp.config.errors import ConfigError
from epp.config.load import Loaded, load_config
from epp.config.model import PickerConfig
from epp.config.pickerconfig import default_picker_config, read_picker_config
from epp.config.tree import read_document

HEAD = "apiVersion: llm-d.ai/v1alpha1\nkind: EndpointPickerConfig\n"
OLD_HEAD = "apiVersion: inference.networking.x-k8s.io/v1alpha1\nkind: EndpointPickerConfig\n"
CHART = (
    HEAD
    + """
plugins:
- type: queue-scorer
- type: kv-cache-utilization-scorer
- type: prefix-cache-scorer
- type: metrics-data-source
  parameters: {scheme: "http", path: "/metrics", insecureSkipVerify: true}
- type: core-metrics-extractor
schedulingProfiles:
- name: default
  plugins:
  - {pluginRef: queue-scorer, weight: 2}
  - {pluginRef: kv-cache-utilization-scorer, weight: 2}
  - {pluginRef: prefix-cache-scorer, weight: 3}
"""
)


def read(text: str) -> PickerConfig:
    return read_picker_config(read_document(text, "f"), "f")


def load(text: str, *argv: str) -> Loaded:
    return load_config(["--config-file=picker.yaml", *argv], {}, lambda _: text.encode())


def test_the_default_profile_of_llm_d_charts() -> None:
    picker = read(CHART)
    (profile,) = picker.profiles
    assert [(use.plugin, use.weight) for use in profile.uses] == [
        ("queue-scorer", 2.0),
        ("kv-cache-utilization-scorer", 2.0),
        ("prefix-cache-scorer", 3.0),
    ]
    built_in = default_picker_config().profiles[0]
    assert [(u.plugin, u.weight) for u in built_in.uses] == [(u.plugin, u.weight) for u in profile.uses]


def test_the_older_group_and_names() -> None:
    picker = read(OLD_HEAD + "plugins: [{name: q, type: queue-scorer, parameters: {}}]")
    assert (picker.plugins[0].name, picker.plugins[0].type) == ("q", "queue-scorer")


def test_without_profiles_there_is_one_of_everything() -> None:
    (profile,) = read(HEAD + "plugins: [{type: queue-scorer}, {type: random-picker}]").profiles
    assert profile.name == "default"
    assert [(use.plugin, use.weight) for use in profile.uses] == [
        ("queue-scorer", None),
        ("random-picker", None),
    ]


def test_it_chooses_the_scorers_policy_and_may_name_an_endpoints_file() -> None:
    text = HEAD + (
        "plugins: [{type: queue-scorer}, "
        "{type: file-discovery, parameters: {path: e.yaml, watchFile: true}}]\n"
        "dataLayer: {discovery: {pluginRef: file-discovery}}\n"
    )
    loaded = load(text)
    assert loaded.config.routing.policy == "scorers"
    assert str(loaded.sources["routing.policy"]) == "kind in picker.yaml"
    assert loaded.config.discovery.endpoints_file == "e.yaml"
    assert load(text, "--endpoints-file=mine.yaml").config.discovery.endpoints_file == "mine.yaml"


def test_the_pickers_of_the_conformance_suite_start() -> None:
    text = OLD_HEAD + (
        "plugins: [{type: header-based-testing-filter}, {type: destination-endpoint-served-verifier}]\n"
        "schedulingProfiles:\n"
        "- name: conformance-profile\n"
        "  plugins: [{pluginRef: header-based-testing-filter}]\n"
    )
    loaded = load(text, "--pool-name=p", "--pool-namespace=n", "--v", "4", "--zap-encoder", "json")
    assert loaded.config.server.conformance
    assert str(loaded.sources["server.conformance"]) == "the conformance suite's plugins in picker.yaml"
    assert not load(text, "--conformance=false").config.server.conformance
    assert not load(CHART).config.server.conformance


def test_a_policy_of_the_command_line_wins_and_the_profiles_are_said_to_be_unused() -> None:
    loaded = load(CHART, "--policy=ttft")
    assert loaded.config.routing.policy == "ttft"
    assert any("have no effect" in warning for warning in loaded.warnings)


def test_the_body_may_stand_in_a_file_of_settings() -> None:
    loaded = load("server: {grpc_port: 1}\npicker: {plugins: [{type: queue-scorer}]}\n")
    assert loaded.config.picker is not None
    assert loaded.config.routing.policy == "scorers"
    assert loaded.config.server.grpc_port == 1


def test_parts_that_change_nothing_are_noted() -> None:
    text = HEAD + (
        "plugins: [{type: queue-scorer}, {type: openai-parser}]\n"
        "featureGates: [other, flowControl=false]\n"
        "flowControl: {maxRequests: 5}\n"
        "requestHandler: {parsers: [{pluginRef: openai-parser}]}\n"
    )
    notes = load(text).warnings
    assert len(notes) == 3


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("kind: Pod\napiVersion: v1", "kind in f must be EndpointPickerConfig, not 'Pod'"),
        ("kind: EndpointPickerConfig", "apiVersion in f is missing"),
        (
            "kind: EndpointPickerConfig\napiVersion: llm-d.ai/v9",
            "apiVersion in f must be llm-d.ai/v1alpha1 or",
        ),
        (HEAD, "plugins in f must list at least one plugin"),
        (HEAD + "plugins: [{name: x}]", r"plugins[0].type in f is missing"),
        (HEAD + "plugins: [{type: a}, {type: a}]", "plugins[1] in f has the name 'a' of an earlier plugin"),
        (HEAD + "plugins: [{type: a, paramters: {}}]", "plugins[0].paramters in f is not known here"),
        (HEAD + "plugins: [{type: a, parameters: 5}]", "plugins[0].parameters in f must be a mapping"),
        (HEAD + "plugins: [{type: a}]\nprofiles: []", "profiles in f is not known here"),
        (
            HEAD + "plugins: [{type: a}]\nschedulingProfiles: [{name: x, plugins: [{pluginRef: b}]}]",
            "schedulingProfiles[0].plugins[0].pluginRef in f 'b' names no plugin",
        ),
        (
            HEAD
            + "plugins: [{type: a}]\nschedulingProfiles: [{name: x, plugins: [{pluginRef: a, weight: -1}]}]",
            "schedulingProfiles[0].plugins[0].weight in f must be a number from",
        ),
        (
            HEAD + "plugins: [{type: a}]\nschedulingProfiles: [{name: x}, {name: x}]",
            "'x' is the name of an earlier profile",
        ),
        (
            HEAD + "plugins: [{type: a}]\nfeatureGates: [flowControl]",
            "flowControl, which this picker does not have",
        ),
        (HEAD + "plugins: [{type: a}]\nfeatureGates: [a=perhaps]", "must be true or false"),
        (HEAD + "plugins: [{type: a}]\ndataLayer: {discovery: {pluginRef: a}}", "supported: file-discovery"),
        (
            HEAD + "plugins: [{type: a}]\ndataLayer: {peerDiscovery: {pluginRef: a}}",
            "peerDiscovery in f is not supported",
        ),
    ],
)
def test_refused_with_the_path(text: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(text)
    assert says in str(caught.value)
