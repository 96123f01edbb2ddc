from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat

from epp.extproc.aio.tls import self_signed
from frontend.http.tls import TlsError, server_context


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    made = self_signed()
    certificate, key = tmp_path / "a.crt", tmp_path / "a.key"
    certificate.write_bytes(made.chain)
    key.write_bytes(made.key)
    return certificate, key


def test_a_pair(pair: tuple[Path, Path]) -> None:
    assert server_context(*pair).get_ca_certs() == []


def test_a_file_that_is_missing(pair: tuple[Path, Path]) -> None:
    pair[1].unlink()
    with pytest.raises(TlsError, match=r"^cannot read the key .*a\.key: No such file or directory$"):
        server_context(*pair)


def test_files_that_do_not_belong_together(pair: tuple[Path, Path]) -> None:
    pair[1].write_bytes(self_signed().key)
    with pytest.raises(TlsError, match="do not belong together"):
        server_context(*pair)


@pytest.mark.parametrize("number", [0, 1])
def test_a_file_that_is_no_pem(pair: tuple[Path, Path], number: int) -> None:
    pair[number].write_bytes(b"nonsense")
    with pytest.raises(TlsError, match="are not a pair of PEM files"):
        server_context(*pair)


def test_an_encrypted_key(pair: tuple[Path, Path]) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    locked = BestAvailableEncryption(b"secret")
    pair[1].write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, locked))
    with pytest.raises(TlsError, match="is encrypted"):
        server_context(*pair)
