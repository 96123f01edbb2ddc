"""What kubeconfigs say of credential plugins, what plugins are told, and what they answer."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from epp.wire.kubernetes.execplugin import (
    EXTENSION,
    VERSIONS,
    Credential,
    PluginError,
    exec_info,
    read_credential,
    read_plugin,
)

V1, V1BETA1 = VERSIONS
ENTRY = {"apiVersion": V1, "command": "aws", "interactiveMode": "Never"}


def said(status: Any, version: str = V1, kind: str = "ExecCredential") -> bytes:
    return json.dumps({"apiVersion": version, "kind": kind, "status": status}).encode()


def test_nobody_is_told_of_the_cluster_unasked() -> None:
    plugin = read_plugin({"exec": ENTRY}, {"server": "https://a"})
    assert plugin is not None
    told = json.loads(exec_info(plugin, "QQ=="))
    assert told == {"kind": "ExecCredential", "apiVersion": V1, "spec": {"interactive": False}}


@pytest.mark.parametrize(
    ("cluster", "authority", "told"),
    [
        ({"server": "https://a"}, None, {"server": "https://a"}),
        (
            {"server": "https://a", "certificate-authority-data": "QQ=="},
            "Qg==",
            {"server": "https://a", "certificate-authority-data": "QQ=="},
        ),
        (
            {"server": "https://a", "certificate-authority": "file"},
            "Qg==",
            {"server": "https://a", "certificate-authority-data": "Qg=="},
        ),
        (
            {
                "server": "https://a",
                "tls-server-name": "b",
                "insecure-skip-tls-verify": True,
                "extensions": [
                    {"name": "x", "extension": 1},
                    {"name": EXTENSION, "extension": {"a": [1, None]}},
                ],
            },
            None,
            {
                "server": "https://a",
                "tls-server-name": "b",
                "insecure-skip-tls-verify": True,
                "config": {"a": [1, None]},
            },
        ),
    ],
)
def test_what_is_told_of_the_cluster(cluster: Any, authority: str | None, told: Any) -> None:
    plugin = read_plugin({"exec": ENTRY | {"provideClusterInfo": True}}, cluster)
    assert plugin is not None
    assert json.loads(exec_info(plugin, authority))["spec"]["cluster"] == told


def test_an_extension_that_unfolds_without_end_is_refused() -> None:
    """As YAML's aliases can write it in a few hundred bytes."""
    tree: Any = ["x"] * 10
    for _ in range(20):
        tree = [tree] * 10
    cluster = {"extensions": [{"name": EXTENSION, "extension": tree}]}
    with pytest.raises(PluginError, match="too large"):
        read_plugin({"exec": ENTRY | {"provideClusterInfo": True}}, cluster)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"apiVersion": "client.authentication.k8s.io/v1alpha1"}, "apiVersion must be"),
        ({"command": ""}, "command is missing"),
        ({"command": 7}, "command must be text"),
        ({"interactiveMode": "Always"}, "nobody is here to be asked"),
        ({"interactiveMode": None}, "must be Never or IfAvailable"),
        ({"interactiveMode": "Sometimes"}, "must be Never or IfAvailable"),
        ({"args": "get-token"}, "args must be a list"),
        ({"args": [1]}, "args must be a list"),
        ({"args": ["a\0b"]}, "args must be a list"),
        ({"env": {"A": "b"}}, "env must be a list"),
        ({"env": [{"value": "b"}]}, "env must be a list"),
        ({"env": [{"name": "A=", "value": "b"}]}, "env must be a list"),
        ({"env": ["A"]}, "env must be a list"),
    ],
)
def test_entries_that_cannot_be_used(change: dict[str, Any], why: str) -> None:
    with pytest.raises(PluginError, match=why):
        read_plugin({"exec": ENTRY | change}, {})


def test_the_older_version_need_not_say_whether_it_asks() -> None:
    assert read_plugin({"exec": {"apiVersion": V1BETA1, "command": "c"}}, {}) is not None
    assert read_plugin({}, {}) is None
    with pytest.raises(PluginError, match="must be a mapping"):
        read_plugin({"exec": "aws"}, {})


def test_credentials() -> None:
    at = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    token = {"token": "t", "expirationTimestamp": "2026-01-02T03:04:05Z"}
    assert read_credential(said(token), V1) == Credential("t", expires=at)
    pair = {"clientCertificateData": "C", "clientKeyData": "K"}
    assert read_credential(said(pair, V1BETA1), V1BETA1) == Credential(None, b"C", b"K")


def test_no_secret_is_shown() -> None:
    shown = repr(
        read_credential(said({"token": "t0p", "clientCertificateData": "C", "clientKeyData": "k3y"}), V1)
    )
    assert "t0p" not in shown
    assert "k3y" not in shown


@pytest.mark.parametrize(
    ("output", "why"),
    [
        (b"", "no ExecCredential"),
        (b"Logged in!", "no ExecCredential"),
        (said({"token": 7}), "no ExecCredential"),
        (said({"token": "t"}, V1BETA1), f"no ExecCredential of {V1}"),
        (said({"token": "t"}, kind="Secret"), "no ExecCredential of"),
        (said(None), "neither a token nor a certificate"),
        (said({"token": ""}), "neither a token nor a certificate"),
        (said({"token": "a\r\nb"}), "cannot stand in a header"),
        (said({"token": "a b"}), "cannot stand in a header"),
        (said({"clientKeyData": "K"}), "a key without a certificate"),
        (said({"token": "t", "expirationTimestamp": "soon"}), "no ExecCredential"),
        (said({"token": "t", "expirationTimestamp": "2026-01-02T03:04:05"}), "no time zone"),
    ],
)
def test_answers_that_cannot_be_used(output: bytes, why: str) -> None:
    with pytest.raises(PluginError, match=why):
        read_credential(output, V1)
