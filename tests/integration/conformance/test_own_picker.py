"""The picker of this repository keeps every rule that is required."""

import json
from pathlib import Path
from typing import Any

import pytest

from epp.extproc.aio.tls import self_signed
from epp.testing.process import ChildProcess
from epp.testing.vocab import cached_model_dir

from .conftest import command, ids, serving

ENDPOINTS = ("127.0.0.1:8101", "127.0.0.1:8102", "127.0.0.2:8101", "[::1]:8101")
_NAMED = tuple(word for endpoint in ENDPOINTS for word in ("--endpoint", endpoint))


async def report_of(process: ChildProcess, *arguments: str | Path) -> Any:
    """The report on a picker; it has to conform."""
    target = ("--target", f"127.0.0.1:{process.ready['grpc_port']}")
    health = ("--health-target", f"127.0.0.1:{process.ready['health_port']}")
    status, output, errors = await command(*target, *health, *_NAMED, "--json", *arguments)
    assert errors == ""
    report = json.loads(output)
    assert ids(report, "FAIL", "required") == set()
    assert ids(report, "FAIL", "recommended") <= {"timing.small"}  # which a busy machine fails
    assert (status, report["conforms"]) == (0, True)
    return report


async def test_with_tokens_over_self_signed_tls(tmp_path: Path) -> None:
    model = cached_model_dir(tmp_path, "tiny")
    flags = ("--model-path", model, "--model-name", "sim", "--conformance")
    async with serving(tmp_path, ENDPOINTS, *flags) as process:
        report = await report_of(process, "--profile", "gateway", "--model", "sim")
    assert ids(report, "SKIP") == {"transport.h2c"}
    assert report["profile"] == "gateway"


@pytest.mark.parametrize("mode", ["duplex", "buffered"])
async def test_without_tokens_in_plaintext(tmp_path: Path, mode: str) -> None:
    async with serving(tmp_path, ENDPOINTS, "--secure-serving=false") as process:
        report = await report_of(process, "--plaintext", "--body-mode", mode)
    assert {"transport.tls", "transport.alpn"} < ids(report, "SKIP")
    assert not any(name.startswith("suite.") for name in ids(report, "PASS"))


async def test_with_a_certificate_that_is_verified(tmp_path: Path) -> None:
    pair = self_signed()
    (tmp_path / "tls.crt").write_bytes(pair.chain)
    (tmp_path / "tls.key").write_bytes(pair.key)
    async with serving(tmp_path, ENDPOINTS, "--cert-path", tmp_path) as process:
        report = await report_of(process, "--tls-ca", tmp_path / "tls.crt", "--only", "transport")
    assert "certificate verified" in report["results"][0]["seen"]
