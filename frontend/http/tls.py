"""The certificate the server shows."""

import ssl
from pathlib import Path


class TlsError(Exception):
    """A certificate or key that cannot be used; one sentence that names the file."""


def server_context(certificate: Path | str, key: Path | str) -> ssl.SSLContext:
    """TLS 1.2 and later with a PEM chain (the server's own certificate first) and its unencrypted key.

    Raises TlsError.
    """
    for path, what in ((certificate, "certificate"), (key, "key")):
        try:
            Path(path).read_bytes()
        except OSError as error:
            raise TlsError(f"cannot read the {what} {path}: {error.strerror}") from error
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(certificate, key, password=_refuse_password)
    except ssl.SSLError as error:
        raise TlsError(_explain(error, certificate, key)) from error
    except _EncryptedError as error:
        raise TlsError(f"the key {key} is encrypted") from error
    return context


class _EncryptedError(Exception):
    """Nobody is there to be asked for a password."""


def _refuse_password() -> str:
    raise _EncryptedError


def _explain(error: ssl.SSLError, certificate: Path | str, key: Path | str) -> str:
    if error.reason == "KEY_VALUES_MISMATCH":
        return f"the certificate {certificate} and the key {key} do not belong together"
    return f"the certificate {certificate} and the key {key} are not a pair of PEM files: {error.reason}"
