"""Credential plugins of kubeconfig files (``exec``): what runs, what it is told, and what it says.

Form: https://kubernetes.io/docs/reference/config-api/client-authentication.v1/; in ``v1beta1`` all that is
read here is the same, but that ``interactiveMode`` may be left out.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import msgspec

from epp.wire.kubernetes.api import ApiFormatError, decode
from epp.wire.untyped import as_list, as_mapping

GROUP: Final = "client.authentication.k8s.io"
VERSIONS: Final = (f"{GROUP}/v1", f"{GROUP}/v1beta1")
EXTENSION: Final = f"{GROUP}/exec"
"""Name of the cluster's extension that is for plugins."""
INFO_VARIABLE: Final = "KUBERNETES_EXEC_INFO"
MAX_TOKEN_BYTES: Final = 64 * 1024
_MAX_HINT: Final = 500
_MAX_NODES: Final = 10_000
"""Of the extension; a YAML file of few bytes can stand for many."""


class PluginError(ValueError):
    """The entry, or what a plugin said, cannot be used; the text says why."""


@dataclass(frozen=True, slots=True)
class ExecPlugin:
    """A program that hands out credentials."""

    api_version: str
    command: str
    """A name for PATH, or a path; a relative one is relative to the kubeconfig."""
    args: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    """Besides the environment of the process that runs it."""
    hint: str = ""
    """How to install it, for people."""
    cluster: Mapping[str, Any] | None = None
    """What it is told of the cluster, of JSON's types; None: nothing."""


@dataclass(frozen=True, slots=True)
class Credential:
    """What a plugin handed out: a token, a client certificate with its key, or both."""

    token: str | None = field(default=None, repr=False)
    cert: bytes | None = None
    key: bytes | None = field(default=None, repr=False)
    expires: datetime | None = None
    """None: it holds until it is refused."""


class _Status(msgspec.Struct, frozen=True, rename="camel"):
    token: str | None = None
    client_certificate_data: str | None = None
    client_key_data: str | None = None
    expiration_timestamp: datetime | None = None


class _ExecCredential(msgspec.Struct, frozen=True, rename="camel"):
    kind: str = ""
    api_version: str = ""
    status: _Status | None = None


def read_plugin(user: Mapping[Any, Any], cluster: Mapping[Any, Any]) -> ExecPlugin | None:
    """The plugin of a user's entry, None if it has none; raises PluginError."""
    entry = as_mapping(user.get("exec"))
    if entry is None:
        if user.get("exec") is not None:
            raise PluginError("exec must be a mapping")
        return None
    version = _text(entry, "apiVersion")
    if version not in VERSIONS:
        raise PluginError(f"exec.apiVersion must be {' or '.join(VERSIONS)}, not {version[:64]!r}")
    _check_mode(entry, version)
    command = _text(entry, "command")
    if not command:
        raise PluginError("exec.command is missing")
    told = entry.get("provideClusterInfo") is True
    return ExecPlugin(
        api_version=version,
        command=command,
        args=_args(entry),
        env=_env(entry),
        hint=" ".join(str(entry.get("installHint") or "").split())[:_MAX_HINT],
        cluster=_cluster(cluster) if told else None,
    )


def exec_info(plugin: ExecPlugin, authority_base64: str | None) -> str:
    """The value of :data:`INFO_VARIABLE`; ``authority_base64`` stands in for an authority that the kubeconfig
    has in a file."""
    spec: dict[str, Any] = {"interactive": False}
    if plugin.cluster is not None:
        spec["cluster"] = dict(plugin.cluster)
        if authority_base64 is not None:
            spec["cluster"].setdefault("certificate-authority-data", authority_base64)
    told = {"kind": "ExecCredential", "apiVersion": plugin.api_version, "spec": spec}
    return msgspec.json.encode(told).decode()


def read_credential(output: bytes, api_version: str) -> Credential:
    """What a plugin wrote to its standard output; raises PluginError."""
    try:
        said = decode(output, _ExecCredential)
    except ApiFormatError:  # its words could hold a part of a secret
        raise PluginError("its output is no ExecCredential") from None
    if said.kind != "ExecCredential" or said.api_version != api_version:
        raise PluginError(f"its output is no ExecCredential of {api_version}")
    status = said.status or _Status()
    if (status.client_certificate_data is None) != (status.client_key_data is None):
        raise PluginError("it gave a certificate without a key, or a key without a certificate")
    if not status.token and status.client_certificate_data is None:
        raise PluginError("it gave neither a token nor a certificate")
    if status.token and not is_token(status.token):
        raise PluginError("its token cannot stand in a header")
    if status.expiration_timestamp is not None and status.expiration_timestamp.tzinfo is None:
        raise PluginError("its expirationTimestamp has no time zone")
    return Credential(
        status.token or None,
        _encoded(status.client_certificate_data),
        _encoded(status.client_key_data),
        status.expiration_timestamp,
    )


def is_token(text: str) -> bool:
    """Whether it can stand in an ``Authorization`` header."""
    return 0 < len(text) <= MAX_TOKEN_BYTES and text.isascii() and text.isprintable() and " " not in text


def _encoded(text: str | None) -> bytes | None:
    return None if text is None else text.encode()


def _check_mode(entry: Mapping[Any, Any], version: str) -> None:
    mode = entry.get("interactiveMode")
    if mode is None and version != VERSIONS[0]:
        return
    if mode == "Always":
        raise PluginError("exec.interactiveMode is Always, and nobody is here to be asked")
    if mode not in ("Never", "IfAvailable"):
        raise PluginError("exec.interactiveMode must be Never or IfAvailable")


def _args(entry: Mapping[Any, Any]) -> tuple[str, ...]:
    args = as_list(entry.get("args") or ())
    if args is None or not all(_is_argument(arg) for arg in args):
        raise PluginError("exec.args must be a list of texts")
    return tuple(args)


def _env(entry: Mapping[Any, Any]) -> tuple[tuple[str, str], ...]:
    given = as_list(entry.get("env") or ())
    pairs = [as_mapping(pair) or {} for pair in given or ()]
    names = [pair.get("name") for pair in pairs]
    values = [pair.get("value") or "" for pair in pairs]
    if given is None or not all(map(_is_argument, (*names, *values))) or any(_is_no_name(n) for n in names):
        raise PluginError("exec.env must be a list of names and values")
    return tuple(zip(map(str, names), map(str, values), strict=True))


def _is_argument(value: Any) -> bool:
    return isinstance(value, str) and "\0" not in value


def _is_no_name(name: Any) -> bool:
    return not name or "=" in name


def _text(entry: Mapping[Any, Any], field: str) -> str:
    value = entry.get(field) or ""
    if not isinstance(value, str) or not value.isprintable():
        raise PluginError(f"exec.{field} must be text")
    return value


def _cluster(cluster: Mapping[Any, Any]) -> Mapping[str, Any]:
    """As the plugin is told it; an authority in a file is put in by who can read files."""
    told = {
        name: cluster[name]
        for name in ("server", "tls-server-name", "insecure-skip-tls-verify", "certificate-authority-data")
        if isinstance(cluster.get(name), str | bool)
    }
    for extension in map(as_mapping, as_list(cluster.get("extensions")) or ()):
        if extension is not None and extension.get("name") == EXTENSION:
            told["config"] = _Budget().plain(extension.get("extension"))
    return told


class _Budget:
    """Copies a bounded number of values of JSON's types."""

    def __init__(self) -> None:
        self._left = _MAX_NODES

    def plain(self, value: Any, depth: int = 0) -> Any:
        """The copy; raises PluginError."""
        self._left -= 1
        if self._left < 0 or depth > 32:
            raise PluginError(f"the cluster's extension {EXTENSION} is too large")
        entries, items = as_mapping(value), as_list(value)
        if entries is not None:
            return {str(key): self.plain(found, depth + 1) for key, found in entries.items()}
        if items is not None:
            return [self.plain(item, depth + 1) for item in items]
        if isinstance(value, int):
            return value if abs(value) < 2**63 else str(value)
        return value if isinstance(value, str | float | bool | None) else str(value)
