"""TLS: the certificate made at start, renewal, client certificates."""

import asyncio
import dataclasses
import socket
import ssl
from pathlib import Path

import grpc
import pytest
from cryptography import x509
from grpc_health.v1 import health_pb2, health_pb2_grpc

from epp.config.model import TlsConfig
from epp.extproc.aio.tls import self_signed

from .conftest import PLAIN, Answering, running_door

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


def presented(port: int) -> x509.Certificate:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    plain = socket.create_connection(("127.0.0.1", port), timeout=60)
    with plain, context.wrap_socket(plain, server_hostname="localhost") as secured:
        assert secured.selected_alpn_protocol() == "h2"
        presented = secured.getpeercert(binary_form=True)
        assert presented is not None
        return x509.load_der_x509_certificate(presented)


async def test_the_certificate_made_at_start_names_this_host(
    destination: Answering, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POD_IP", "10.1.2.3")
    config = dataclasses.replace(PLAIN, tls=TlsConfig())
    async with running_door(destination, config) as door:
        certificate = await asyncio.to_thread(presented, door.ports.grpc)
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        addresses = {str(a) for a in names.get_values_for_type(x509.IPAddress)}
        assert addresses == {"127.0.0.1", "::1", "10.1.2.3"}
        assert "localhost" in names.get_values_for_type(x509.DNSName)
        assert certificate.public_key().curve.name == "secp256r1"


def write_pair(folder: Path) -> x509.Certificate:
    pair = self_signed()
    for name, data in (("tls.key", pair.key), ("tls.crt", pair.chain)):
        fresh = folder / (name + ".new")
        fresh.write_bytes(data)
        fresh.rename(folder / name)
    return x509.load_pem_x509_certificate(pair.chain)


async def test_a_renewed_certificate_is_taken_without_a_restart(
    destination: Answering, tmp_path: Path
) -> None:
    first = write_pair(tmp_path)
    config = dataclasses.replace(PLAIN, tls=TlsConfig(cert_path=str(tmp_path)))
    async with running_door(destination, config) as door:
        assert await asyncio.to_thread(presented, door.ports.grpc) == first
        (tmp_path / "tls.crt").write_bytes(b"half a certificate")
        assert await asyncio.to_thread(presented, door.ports.grpc) == first
        second = write_pair(tmp_path)
        assert await asyncio.to_thread(presented, door.ports.grpc) == second


async def test_client_certificates_are_demanded_when_a_ca_is_given(
    destination: Answering, tmp_path: Path
) -> None:
    write_pair(tmp_path)
    client = self_signed()
    (tmp_path / "ca.pem").write_bytes(client.chain)
    tls = TlsConfig(cert_path=str(tmp_path), client_ca_path=str(tmp_path / "ca.pem"))
    async with running_door(destination, dataclasses.replace(PLAIN, tls=tls)) as door:

        async def ask(**pair: bytes) -> int:
            root = (tmp_path / "tls.crt").read_bytes()
            credentials = grpc.ssl_channel_credentials(root_certificates=root, **pair)
            async with grpc.aio.secure_channel(f"localhost:{door.ports.grpc}", credentials) as channel:
                stub = health_pb2_grpc.HealthStub(channel)
                return (await stub.Check(health_pb2.HealthCheckRequest(), timeout=60)).status

        assert await ask(private_key=client.key, certificate_chain=client.chain) == SERVING
        with pytest.raises(grpc.aio.AioRpcError):
            await ask()
