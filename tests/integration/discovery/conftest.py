"""A real etcd on ports of its own, that tests may kill and start again."""

import asyncio
import datetime as dt
import ipaddress
import json
import os
import shutil
from base64 import b64encode
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from epp.config.model import EtcdConfig
from epp.discovery.etcd_client import EtcdClient
from epp.net.http import FetchError
from epp.testing.ports import HeldPort
from epp.wire.etcd import PUT_PATH, EtcdError, put_request

DEADLINE_S = 60.0


async def eventually(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not condition():
            await asyncio.sleep(0.005)


class Etcd:
    """One member. Its ports and its folder survive a restart."""

    def __init__(self, binary: str, folder: Path, *, tls: bool = False) -> None:
        """``tls``: the member and its clients show one self-signed certificate to each other."""
        self._binary = binary
        self.folder = folder
        self.pair = _write_pair(folder) if tls else None
        self._places = HeldPort(), HeldPort()
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self._places[0].port}"
        self._peer = f"http://127.0.0.1:{self._places[1].port}"
        self._process: asyncio.subprocess.Process | None = None

    def config(self, **changes: object) -> EtcdConfig:
        tls: dict[str, object] = {}
        if self.pair is not None:
            chain, key = self.pair
            tls = {"ca_path": chain, "cert_path": chain, "key_path": key}
        return EtcdConfig(**{"endpoints": (self.url,), "prefix": "/t/", **tls, **changes})  # type: ignore[arg-type]

    async def start(self) -> None:
        options = {
            "data-dir": str(self.folder / "data"),
            "listen-client-urls": self.url,
            "advertise-client-urls": self.url,
            "listen-peer-urls": self._peer,
            "initial-advertise-peer-urls": self._peer,
            "initial-cluster": f"default={self._peer}",
            "heartbeat-interval": "20",
            "election-timeout": "200",
        }
        if self.pair is not None:
            chain, key = self.pair
            options |= {
                "cert-file": chain,
                "key-file": key,
                "trusted-ca-file": chain,
                "client-cert-auth": "true",
            }
        with (self.folder / "etcd.log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                self._binary,
                "--unsafe-no-fsync",
                *(f"--{name}={value}" for name, value in options.items()),
                stdout=log,
                stderr=log,
            )
        await self._ready()

    async def _ready(self) -> None:
        async with asyncio.timeout(DEADLINE_S):
            while True:
                try:
                    await self.put("/ready", b"")
                    return
                except (FetchError, EtcdError):
                    await asyncio.sleep(0.02)

    async def kill(self) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    async def close(self) -> None:
        await self.kill()
        for place in self._places:
            place.close()

    async def call(self, path: str, body: bytes) -> bytes:
        return await EtcdClient(self.config()).call(path, body)

    async def put(self, key: str, value: bytes) -> int:
        """The revision after it."""
        answer = await self.call(PUT_PATH, put_request(key.encode(), value, 0))
        return int(json.loads(answer)["header"]["revision"])

    async def delete(self, key: str) -> None:
        body = json.dumps({"key": b64encode(key.encode()).decode()}).encode()
        await self.call("/v3/kv/deleterange", body)

    async def compact(self, revision: int) -> None:
        body = json.dumps({"revision": str(revision), "physical": True}).encode()
        await self.call("/v3/kv/compaction", body)


def _write_pair(folder: Path) -> tuple[str, str]:
    """Paths of a certificate for this host, good for servers and clients, and of its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "etcd")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    chain_path, key_path = folder / "tls.crt", folder / "tls.key"
    chain_path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return str(chain_path), str(key_path)


async def _running(folder: Path, *, tls: bool = False) -> AsyncIterator[Etcd]:
    binary = shutil.which("etcd")
    if binary is None:
        (pytest.fail if os.environ.get("EPP_REQUIRE_ALL") else pytest.skip)("there is no etcd (etcd-server)")
    folder.mkdir()
    server = Etcd(binary, folder, tls=tls)
    try:
        await server.start()
        yield server
    finally:
        await server.close()


@pytest.fixture
async def etcd(tmp_path: Path) -> AsyncIterator[Etcd]:
    async for server in _running(tmp_path / "etcd"):
        yield server


@pytest.fixture
async def secured_etcd(tmp_path: Path) -> AsyncIterator[Etcd]:
    """An etcd that demands client certificates."""
    async for server in _running(tmp_path / "etcd", tls=True):
        yield server
