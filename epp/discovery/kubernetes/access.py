"""Where the Kubernetes API is and how it is told who asks: a pod's service account, or a kubeconfig.

Tokens and certificates are read anew for every connection, so that rotated ones are taken without a restart.
"""

import os
import ssl
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from epp.wire.kubernetes.execplugin import MAX_TOKEN_BYTES, Credential, is_token
from epp.wire.kubernetes.kubeconfig import MAX_FILE_BYTES, Kubeconfig, KubeconfigError, Pem, parse_kubeconfig
from epp.wire.urls import parse_url

SERVICE_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")


class AccessError(Exception):
    """Nothing says where the API is, or what says it cannot be used; one sentence."""


@dataclass(frozen=True, slots=True)
class Access:
    """One way to the API."""

    config: Kubeconfig
    folder: Path
    """What relative paths of the configuration are relative to."""

    @property
    def host(self) -> str:
        """``host:port`` of the API server, for messages."""
        return self.config.server.host_header

    def token(self) -> str | None:
        """The bearer token now; raises OSError, AccessError. Reads a file: not on the event loop."""
        path = self.config.token_path
        if path is None:
            return self.config.token
        with (self.folder / path).open("rb") as file:
            text = file.read(MAX_TOKEN_BYTES + 1).decode("ascii", "replace").strip()
        if not is_token(text):
            raise AccessError(f"{path} holds no token")
        return text

    def authority(self) -> bytes | None:
        """The certificates that vouch for the server (PEM), None: the system's; raises OSError, AccessError.
        Reads a file: not on the event loop."""
        if self.config.ca is None:
            return None
        data = self._read(self.config.ca)
        if not data.strip():
            raise AccessError("the certificate authority's file is empty")
        return data

    def tls(self, handed_out: Credential | None = None) -> ssl.SSLContext | None:
        """How to speak TLS now, None for plain HTTP; ``handed_out`` by a plugin. Raises OSError, AccessError.
        Reads files: not on the event loop."""
        config = self.config
        if not config.server.tls:
            return None
        context = ssl.create_default_context()
        if config.insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        elif (authority := self.authority()) is not None:
            context = ssl.create_default_context(cadata=authority.decode("ascii", "replace"))
        if handed_out is not None and handed_out.cert is not None and handed_out.key is not None:
            self._present(context, Pem(data=handed_out.cert), Pem(data=handed_out.key))
        elif config.client_cert is not None and config.client_key is not None:
            self._present(context, config.client_cert, config.client_key)
        return context

    def _present(self, context: ssl.SSLContext, certificate: Pem, key: Pem) -> None:
        """OpenSSL takes a client's certificate from files only."""
        with ExitStack() as stack:
            context.load_cert_chain(*(self._file(pem, stack) for pem in (certificate, key)))

    def _file(self, pem: Pem, stack: ExitStack) -> str:
        if pem.data is None:
            return str(self.folder / (pem.path or ""))
        file = stack.enter_context(tempfile.NamedTemporaryFile())  # noqa: SIM115 -- the stack closes it
        file.write(pem.data)
        file.flush()
        return file.name

    def _read(self, pem: Pem) -> bytes:
        if pem.data is not None:
            return pem.data
        with (self.folder / (pem.path or "")).open("rb") as file:
            return file.read(MAX_FILE_BYTES)


def find_access(environment: Mapping[str, str], mounted: Path = SERVICE_ACCOUNT) -> Access:
    """``KUBECONFIG``, else the pod's service account, else ``~/.kube/config``; raises AccessError."""
    named = environment.get("KUBECONFIG")
    if named:
        return _from_file(Path(named.split(os.pathsep, 1)[0]))
    host, port = (environment.get(f"KUBERNETES_SERVICE_{part}") for part in ("HOST", "PORT"))
    if host and port:
        return _from_service_account(host, port, mounted)
    usual = Path(environment.get("HOME", "/")) / ".kube" / "config"
    if usual.exists():
        return _from_file(usual)
    raise AccessError("Nothing says where the Kubernetes API is: no KUBECONFIG, and not in a pod.")


def _from_file(path: Path) -> Access:
    try:
        with path.open("rb") as file:
            config = parse_kubeconfig(file.read(MAX_FILE_BYTES + 1))
    except OSError as error:
        raise AccessError(f"{path}: {error.strerror or error}.") from error
    except KubeconfigError as error:
        raise AccessError(f"{path}: {error}.") from error
    return Access(config, path.parent)


def _from_service_account(host: str, port: str, mounted: Path) -> Access:
    bracketed = f"[{host}]" if ":" in host else host
    try:
        server = parse_url(f"https://{bracketed}:{port}")
    except ValueError as error:
        raise AccessError(f"KUBERNETES_SERVICE_HOST and _PORT are no address: {error}.") from error
    config = Kubeconfig(server, ca=Pem(path="ca.crt"), token_path="token")  # noqa: S106 -- a file's name
    return Access(config, mounted)
