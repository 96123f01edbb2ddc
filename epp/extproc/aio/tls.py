"""TLS of the ext_proc port: a self-signed certificate made at start, or files that may be renewed."""

import datetime as dt
import ipaddress
import logging
import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from epp.config.model import TlsConfig

_log = logging.getLogger(__name__)

_VALIDITY: Final = dt.timedelta(days=3650)
"""A certificate made at start lives as long as its process; gateways do not verify it anyway."""
_CLOCK_SKEW: Final = dt.timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A private key and its certificate chain, PEM."""

    key: bytes
    chain: bytes


class TlsError(Exception):
    """The configured certificate cannot be used; the operator's to mend."""


def self_signed() -> KeyPair:
    """A fresh ECDSA P-256 pair for this host's names, ``localhost``, loopback and ``POD_IP``."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "endpoint-picker")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_SKEW)
        .not_valid_after(now + _VALIDITY)
        .add_extension(x509.SubjectAlternativeName(_alternative_names()), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
    return KeyPair(
        key=key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
        chain=certificate.public_bytes(serialization.Encoding.PEM),
    )


def _alternative_names() -> list[x509.GeneralName]:
    addresses = {"127.0.0.1", "::1", os.environ.get("POD_IP", "")}
    names: list[x509.GeneralName] = [
        x509.DNSName(name) for name in sorted({socket.gethostname(), "localhost"})
    ]
    for address in sorted(addresses):
        try:
            names.append(x509.IPAddress(ipaddress.ip_address(address)))
        except ValueError:
            continue  # POD_IP is not set, or not an address
    return names


def load(folder: str) -> KeyPair:
    """The pair in ``tls.key`` and ``tls.crt`` of a folder; raises :class:`TlsError` if it is unusable."""
    try:
        pair = KeyPair(key=Path(folder, "tls.key").read_bytes(), chain=Path(folder, "tls.crt").read_bytes())
        key = serialization.load_pem_private_key(pair.key, password=None)
        certificate = x509.load_pem_x509_certificate(pair.chain)
    except (OSError, ValueError, TypeError) as error:
        raise TlsError(f"cannot use the certificate in {folder}: {error}") from error
    if key.public_key() != certificate.public_key():
        raise TlsError(f"tls.key and tls.crt in {folder} do not belong together")
    return pair


class CertificateSource:
    """The current certificate configuration, re-read when its files change."""

    def __init__(self, config: TlsConfig) -> None:
        """Raises :class:`TlsError` when configured files cannot be used."""
        self._folder = config.cert_path
        self._client_ca = _read_ca(config.client_ca_path)
        self._pair = load(config.cert_path) if config.cert_path else self_signed()
        self._stamp = self._look()
        self._reload = config.reload and config.cert_path is not None

    def credentials(self) -> grpc.ServerCredentials:
        """Server credentials that ask :meth:`renewed` at every handshake."""
        return grpc.dynamic_ssl_server_credentials(
            self._configuration(), self.renewed, require_client_authentication=self._client_ca is not None
        )

    def renewed(self) -> Any:
        """The new configuration when the files changed and are usable, else None: keep the old one.

        Called by grpc on its own thread at each handshake. A half-written renewal keeps the old pair.
        """
        if not self._reload or self._look() == self._stamp:
            return None
        assert self._folder is not None
        stamp = self._look()
        try:
            self._pair = load(self._folder)
        except TlsError as error:
            _log.warning("%s; keeping the certificate in use", error)
            return None
        self._stamp = stamp
        return self._configuration()

    def _configuration(self) -> Any:
        return grpc.ssl_server_certificate_configuration(
            [(self._pair.key, self._pair.chain)], root_certificates=self._client_ca
        )

    def _look(self) -> tuple[int, ...]:
        """Modification times and inodes: secret mounts swap a link, editors write in place."""
        if self._folder is None:
            return ()
        try:
            stats = [Path(self._folder, name).stat() for name in ("tls.key", "tls.crt")]
        except OSError:
            return ()
        return tuple(value for stat in stats for value in (stat.st_mtime_ns, stat.st_ino))


def _read_ca(path: str | None) -> bytes | None:
    if path is None:
        return None
    try:
        authorities = Path(path).read_bytes()
        x509.load_pem_x509_certificates(authorities)
    except (OSError, ValueError) as error:
        raise TlsError(f"cannot use the client CA file {path}: {error}") from error
    return authorities
