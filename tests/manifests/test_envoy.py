"""The shipped Envoy configurations: typed, taken by Envoy, and served through."""

import asyncio
import subprocess
import sys
import warnings
from collections.abc import AsyncIterator
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from epp.core.headers import DESTINATION
from epp.testing.backend import EchoBackend
from epp.testing.envoy import EnvoyProcess, find_envoy
from epp.testing.envoy_config import EnvoyOptions
from epp.testing.process import ChildProcess
from tests.manifests.envoy_files import FILES

_FILES = pytest.mark.parametrize("file", FILES, ids=lambda file: file.parent.name)
_TYPED = (
    "filters.http.ext_proc.v3",
    "filters.http.router.v3",
    "filters.network.http_connection_manager.v3",
    "transport_sockets.tls.v3",
    "upstreams.http.v3",
)
"""The extensions whose types must be known to read the configurations."""


@pytest.mark.envoy
@_FILES
def test_envoy_takes_it(file: Path) -> None:
    argv = [find_envoy(), "--mode", "validate", "--config-path", str(file)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def bootstrap_type() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the package's own use of pydantic
        for name in _TYPED:
            import_module(f"envoy_data_plane.envoy.extensions.{name}")
        return import_module("envoy_data_plane.envoy.config.bootstrap.v3").Bootstrap


@_FILES
def test_typed(file: Path, bootstrap_type: Any) -> None:
    read = bootstrap_type.from_dict(yaml.safe_load(file.read_text()))
    servers, pickers = read.static_resources.clusters
    assert servers.original_dst_lb_config.http_header_name == DESTINATION
    assert servers.original_dst_lb_config.use_http_header
    manager = read.static_resources.listeners[0].filter_chains[0].filters[0].typed_config.unpack()
    asked = manager.http_filters[0].typed_config.unpack()
    assert asked.grpc_service.envoy_grpc.cluster_name == pickers.name
    assert not asked.failure_mode_allow, "an Envoy that skips the picker goes where clients say"
    assert asked.processing_mode.request_body_mode.name == "FULL_DUPLEX_STREAMED"
    assert read.admin.address.socket_address.address == "127.0.0.1"


@_FILES
def test_the_types_refuse_what_they_do_not_know(file: Path, bootstrap_type: Any) -> None:
    document = yaml.safe_load(file.read_text())
    document["static_resources"]["clusters"][0]["original_dst_lb_config"]["use_headers"] = True
    with pytest.raises(KeyError, match="use_headers"):
        bootstrap_type.from_dict(document)


@pytest.fixture
async def servers() -> AsyncIterator[tuple[EchoBackend, EchoBackend]]:
    async with EchoBackend() as one, EchoBackend() as other:
        yield one, other


@pytest.mark.envoy
@_FILES
async def test_serves(file: Path, tmp_path: Path, servers: tuple[EchoBackend, EchoBackend]) -> None:
    picked, never = servers
    entry = {"name": "one", "address": "127.0.0.1", "port": picked.port}
    (tmp_path / "endpoints.yaml").write_text(yaml.safe_dump({"endpoints": [entry]}))
    started = ChildProcess("picker", _command(FILES[file], tmp_path), tmp_path / "picker.log")
    async with started as picker, EnvoyProcess(_here(FILES[file], picker.ready["grpc_port"])) as envoy:
        await _finds_the_picker(envoy)
        for http2 in (False, True):
            answer = await _ask(envoy.port, never.host_port, http2=http2)
            assert answer.status_code == 200, answer.text
            assert answer.json()["port"] == picked.port
    assert not never.received


async def _ask(port: int, misleading: str, *, http2: bool) -> httpx.Response:
    """What a client gets who says himself where to go."""
    async with httpx.AsyncClient(http1=not http2, http2=http2, timeout=60) as client:
        return await client.post(
            f"http://127.0.0.1:{port}/v1/completions",
            json={"model": "m", "prompt": "hello"},
            headers={DESTINATION: misleading},
        )


async def _finds_the_picker(envoy: EnvoyProcess) -> None:
    async with asyncio.timeout(60):
        while await envoy.stat("cluster.pickers.membership_healthy") == 0:
            await asyncio.sleep(0.02)


def _command(options: EnvoyOptions, folder: Path) -> list[str | Path]:
    ports = [f"--{name}-port=0" for name in ("grpc", "grpc-health", "metrics")]
    safe = f"--secure-serving={str(options.picker_tls).lower()}"
    argv = (sys.executable, "-m", "epp", "serve", "--bind-address=127.0.0.1", *ports, safe)
    return [*argv, "--no-scrape-metrics", "--endpoints-file", folder / "endpoints.yaml"]


def _here(options: EnvoyOptions, picker: int) -> EnvoyOptions:
    """The same on loopback, with ports of the kernel's choice, and a name that loopback has."""
    host = options.picker_host if options.picker_host == "127.0.0.1" else "localhost"
    anywhere = "127.0.0.1:0"
    return replace(options, pickers=[picker], picker_host=host, listen=anywhere, admin=anywhere)
