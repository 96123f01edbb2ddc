"""``epp conformance`` as a command: what it prints, writes and returns."""

import json
from pathlib import Path

from .conftest import command
from .flaws import NoMetadata
from .tiny import ENDPOINTS, TinyPicker


async def test_a_picker_that_conforms(tmp_path: Path) -> None:
    named = [word for endpoint in ENDPOINTS for word in ("--endpoint", endpoint)]
    async with TinyPicker().serving() as port:
        status, output, errors = await command(
            *("--target", f"127.0.0.1:{port}", "--plaintext", *named),
            *("--only", "destination", "--report", tmp_path / "report.json"),
        )
    assert (status, errors) == (0, "")
    assert f"127.0.0.1:{port} (plaintext), 3 endpoints known" in output
    assert "  PASS  required     destination.header " in output
    assert "20 requests went to 3 of 3 endpoints" in output
    assert "no required case fails" in output
    assert "\x1b" not in output
    report = json.loads((tmp_path / "report.json").read_text())
    assert (report["format"], report["conforms"]) == (1, True)


async def test_a_picker_that_does_not_conform() -> None:
    async with NoMetadata().serving() as port:
        arguments = ("--target", f"127.0.0.1:{port}", "--plaintext", "--only", "destination.metadata")
        status, output, _ = await command(*arguments)
    assert status == 1
    assert "no x-gateway-destination-endpoint in the dynamic metadata" in output
    assert "expected  A request's answer carries the destination" in output
    assert "1 required case fails" in output


async def test_nobody_there() -> None:
    async with TinyPicker().serving() as port:
        pass
    status, output, errors = await command("--target", f"127.0.0.1:{port}", "--plaintext", "--timeout", "1")
    assert status == 2
    assert f"nobody speaks gRPC (plaintext) at 127.0.0.1:{port}" in errors
    assert "PASS" not in output


async def test_tls_with_somebody_who_speaks_plaintext() -> None:
    async with TinyPicker().serving() as port:
        status, _, errors = await command("--target", f"127.0.0.1:{port}", "--timeout", "5")
    assert status == 2
    assert "no TLS with" in errors
