"""Kubeconfig files, as people and tools write them."""

from base64 import b64encode
from typing import Any

import pytest
import yaml

from epp.wire.kubernetes.kubeconfig import KubeconfigError, Pem, parse_kubeconfig

PLUGIN = {"apiVersion": "client.authentication.k8s.io/v1", "command": "aws", "interactiveMode": "Never"}


def written(cluster: Any = None, user: Any = None, context: Any = None, **changes: Any) -> bytes:
    document = {
        "current-context": "c",
        "contexts": [{"name": "other"}, {"name": "c", "context": context or {"cluster": "k", "user": "u"}}],
        "clusters": [{"name": "k", "cluster": {"server": "https://[fd00::1]:6443/k8s", **(cluster or {})}}],
        "users": [{"name": "u", "user": user or {}}],
        **changes,
    }
    return yaml.safe_dump(document).encode()


def test_a_token_and_an_authority() -> None:
    config = parse_kubeconfig(
        written(
            {"certificate-authority-data": b64encode(b"PEM").decode(), "tls-server-name": "api"},
            {"token": "t"},
            {"cluster": "k", "user": "u", "namespace": "ns"},
        )
    )
    assert (config.server.host, config.server.port, config.server.target) == ("fd00::1", 6443, "/k8s")
    assert (config.ca, config.server_name, config.insecure) == (Pem(data=b"PEM"), "api", False)
    assert (config.token, config.namespace) == ("t", "ns")


def test_a_client_certificate_in_files() -> None:
    user = {"client-certificate": "c.crt", "client-key": "c.key", "tokenFile": "t"}
    config = parse_kubeconfig(written({"insecure-skip-tls-verify": True}, user))
    assert (config.client_cert, config.client_key) == (Pem(path="c.crt"), Pem(path="c.key"))
    assert (config.insecure, config.token_path) == (True, "t")


def test_a_plugin_as_managed_clusters_write_it() -> None:
    arguments = {
        "args": ["get-token"],
        "env": [{"name": "AWS_PROFILE", "value": "p"}],
        "installHint": "a\n b",
    }
    plugin = parse_kubeconfig(written(user={"exec": PLUGIN | arguments})).plugin
    assert plugin is not None
    assert (plugin.command, plugin.args, plugin.env) == ("aws", ("get-token",), (("AWS_PROFILE", "p"),))
    assert (plugin.hint, plugin.cluster) == ("a b", None)


def test_a_context_without_a_user() -> None:
    assert parse_kubeconfig(written(context={"cluster": "k"})).token is None


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"\xff", "not YAML"),
        (b"[]", "not a mapping"),
        (b"a: [", "not YAML"),
        (b"[" * 100, "deeper"),
        (b"a: " + b"x" * (1024 * 1024), "larger"),
        (b"current-context: c", "no context named 'c'"),
        (written(**{"current-context": None}), "no context named 'None'"),
        (written(clusters=[]), "no cluster named 'k'"),
        (written(users=None), "no user named 'u'"),
        (written({"server": "api:6443"}), "server is wrong"),
        (written({"server": 7}), "must be text"),
        (written({"certificate-authority-data": "!"}), "not base64"),
        (written(user={"auth-provider": {"name": "gcp"}}), "use the cloud's exec plugin"),
        (written(user={"username": "u", "password": "p"}), "'username' are not supported: give a token"),
        (written(user={"as": "somebody", "token": "t"}), "'as' are not supported"),
        (written({"proxy-url": "http://proxy:3128"}), "'proxy-url' are not supported"),
        (written(user={"exec": {"command": "aws"}}), "exec.apiVersion must be"),
        (written(user={"exec": PLUGIN, "token": "t"}), "an exec plugin or a token, not both"),
        (written(user={"token": "é"}), "cannot stand in a header"),
        (written(user={"client-key": "k"}), "go together"),
        (written(user={"token": "a\nb"}), "must be text"),
        (written(context={"cluster": "k", "namespace": "../x"}), "no namespace"),
    ],
)
def test_files_that_cannot_be_used(data: bytes, why: str) -> None:
    with pytest.raises(KubeconfigError, match=why):
        parse_kubeconfig(data)
