"""Certificates: what is refused at start, and in whose words."""

from pathlib import Path

import pytest

from epp.config.model import TlsConfig
from epp.extproc.aio.tls import CertificateSource, TlsError, load, self_signed


def write(folder: Path, key: bytes, chain: bytes) -> str:
    (folder / "tls.key").write_bytes(key)
    (folder / "tls.crt").write_bytes(chain)
    return str(folder)


def test_a_pair_that_belongs_together_is_used(tmp_path: Path) -> None:
    pair = self_signed()
    assert load(write(tmp_path, pair.key, pair.chain)) == pair


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(TlsError, match="nowhere"):
        CertificateSource(TlsConfig(cert_path=str(tmp_path / "nowhere")))


def test_a_pair_of_strangers_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TlsError, match="belong together"):
        load(write(tmp_path, self_signed().key, self_signed().chain))


@pytest.mark.parametrize("damaged", ["tls.key", "tls.crt"])
def test_damage_is_refused(tmp_path: Path, damaged: str) -> None:
    pair = self_signed()
    folder = write(tmp_path, pair.key, pair.chain)
    (tmp_path / damaged).write_bytes(b"-----BEGIN NOTHING-----")
    with pytest.raises(TlsError, match="cannot use the certificate"):
        load(folder)


@pytest.mark.parametrize("content", [None, b"no certificates"])
def test_a_useless_client_ca_is_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(TlsError, match="client CA"):
        CertificateSource(TlsConfig(client_ca_path=str(path)))


def test_nothing_is_renewed_while_nothing_changes(tmp_path: Path) -> None:
    pair = self_signed()
    folder = write(tmp_path, pair.key, pair.chain)
    source = CertificateSource(TlsConfig(cert_path=folder))
    assert source.renewed() is None
    other = self_signed()
    write(tmp_path, other.key, other.chain)
    assert CertificateSource(TlsConfig(cert_path=folder, reload=False)).renewed() is None
    assert source.renewed() is not None
    assert source.renewed() is None
    (tmp_path / "tls.key").unlink()
    assert source.renewed() is None
