"""The kubeconfig file: how one context reaches its cluster, and as whom.

Form: https://kubernetes.io/docs/reference/config-api/kubeconfig.v1/.
"""

from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from epp.wire.kubernetes.api import is_object_name
from epp.wire.kubernetes.execplugin import ExecPlugin, PluginError, is_token, read_plugin
from epp.wire.untyped import as_list, as_mapping
from epp.wire.urls import Url, parse_url
from epp.wire.yamltext import read_yaml

MAX_FILE_BYTES: Final = 1024 * 1024
_MAX_DEPTH: Final = 32
_REFUSED_OF_USERS: Final = {
    "auth-provider": "Kubernetes dropped it in 1.26; use the cloud's exec plugin (gke-gcloud-auth-plugin,"
    " kubelogin)",
    "username": "give a token, a certificate or an exec plugin",
    "password": "give a token, a certificate or an exec plugin",
    "as": "grant what is needed to the user itself",
    "as-uid": "grant what is needed to the user itself",
    "as-groups": "grant what is needed to the user itself",
    "as-user-extra": "grant what is needed to the user itself",
}
"""What would change who asks if it were passed over, and what to do instead."""


class KubeconfigError(ValueError):
    """The file cannot be used; the text says why."""


@dataclass(frozen=True, slots=True)
class Pem:
    """Certificates or a key: in the file itself, or in another."""

    data: bytes | None = None
    path: str | None = None


@dataclass(frozen=True, slots=True)
class Kubeconfig:
    """How one context reaches its cluster."""

    server: Url
    """Its target is the path everything else is below."""
    ca: Pem | None = None
    """None: the system's authorities."""
    server_name: str | None = None
    """The name the server's certificate must have, if not its host's."""
    insecure: bool = False
    """Do not verify the server's certificate."""
    client_cert: Pem | None = None
    client_key: Pem | None = None
    token: str | None = None
    token_path: str | None = None
    """Read anew for every call."""
    plugin: ExecPlugin | None = None
    """Who hands out a token or a certificate."""
    namespace: str | None = None


def parse_kubeconfig(data: bytes) -> Kubeconfig:
    """The current context of a file; raises KubeconfigError."""
    document = _load(data)
    context = _named(document, "contexts", "context", document.get("current-context"))
    cluster = _named(document, "clusters", "cluster", context.get("cluster"))
    user: Mapping[Any, Any] = {}
    if context.get("user"):
        user = _named(document, "users", "user", context.get("user"))
    _refuse(cluster, user)
    certificate, key = _pem(user, "client-certificate"), _pem(user, "client-key")
    if (certificate is None) != (key is None):
        raise KubeconfigError("client-certificate and client-key go together")
    return Kubeconfig(
        server=_server(cluster),
        ca=_pem(cluster, "certificate-authority"),
        server_name=_text(cluster, "tls-server-name"),
        insecure=cluster.get("insecure-skip-tls-verify") is True,
        client_cert=certificate,
        client_key=key,
        token=_token(user),
        token_path=_text(user, "tokenFile"),
        plugin=_plugin(user, cluster),
        namespace=_namespace(context),
    )


def _load(data: bytes) -> Mapping[Any, Any]:
    if len(data) > MAX_FILE_BYTES:
        raise KubeconfigError(f"the file is larger than {MAX_FILE_BYTES} bytes")
    try:
        document = as_mapping(read_yaml(data, max_depth=_MAX_DEPTH))
    except ValueError as error:
        raise KubeconfigError(f"not YAML: {error}") from error
    if document is None:
        raise KubeconfigError("not a mapping")
    return document


def _named(document: Mapping[Any, Any], listed: str, field: str, name: Any) -> Mapping[Any, Any]:
    for entry in map(as_mapping, as_list(document.get(listed)) or ()):
        if entry is not None and isinstance(name, str) and entry.get("name") == name:
            return as_mapping(entry.get(field)) or {}
    raise KubeconfigError(f"there is no {field} named {str(name)[:64]!r}")


def _refuse(cluster: Mapping[Any, Any], user: Mapping[Any, Any]) -> None:
    for name, instead in _REFUSED_OF_USERS.items():
        if user.get(name):
            raise KubeconfigError(f"users with {name!r} are not supported: {instead}")
    if cluster.get("proxy-url"):
        raise KubeconfigError("clusters with 'proxy-url' are not supported: the API is asked directly")
    if user.get("exec") and (user.get("token") or user.get("tokenFile")):
        raise KubeconfigError("a user has an exec plugin or a token, not both")


def _plugin(user: Mapping[Any, Any], cluster: Mapping[Any, Any]) -> ExecPlugin | None:
    try:
        return read_plugin(user, cluster)
    except PluginError as error:
        raise KubeconfigError(str(error)) from error


def _token(user: Mapping[Any, Any]) -> str | None:
    token = _text(user, "token")
    if token is not None and not is_token(token):
        raise KubeconfigError("the token cannot stand in a header")
    return token


def _server(cluster: Mapping[Any, Any]) -> Url:
    try:
        return parse_url(_text(cluster, "server") or "")
    except ValueError as error:
        raise KubeconfigError(f"the cluster's server is wrong: {error}") from error


def _namespace(context: Mapping[Any, Any]) -> str | None:
    namespace = _text(context, "namespace")
    if namespace is not None and not is_object_name(namespace):
        raise KubeconfigError(f"{namespace[:64]!r} is no namespace")
    return namespace


def _pem(entry: Mapping[Any, Any], field: str) -> Pem | None:
    """``FIELD-data`` (base64) goes before ``FIELD`` (a path), as in the client of Kubernetes."""
    inline = _text(entry, f"{field}-data")
    if inline is not None:
        try:
            return Pem(data=b64decode(inline, validate=True))
        except ValueError as error:
            raise KubeconfigError(f"{field}-data is not base64") from error
    path = _text(entry, field)
    return None if path is None else Pem(path=path)


def _text(entry: Mapping[Any, Any], field: str) -> str | None:
    value = entry.get(field)
    if value is None or value == "":
        return None
    if not isinstance(value, str) or not value.isprintable():
        raise KubeconfigError(f"{field} must be text")
    return value
