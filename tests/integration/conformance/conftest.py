"""Pickers as processes: the one of this repository, as a user would start it."""

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import httpx

from epp.testing.process import ChildProcess

_PORTS = ("--grpc-port", "0", "--grpc-health-port", "0", "--metrics-port", "0")
_COMMAND_S = 100.0
_READY_S = 60.0


@contextlib.asynccontextmanager
async def serving(folder: Path, endpoints: Sequence[str], *flags: str | Path) -> AsyncIterator[ChildProcess]:
    """``epp serve`` for these endpoints, ready to pick."""
    entries = [endpoint.rpartition(":") for endpoint in endpoints]
    document = {
        "endpoints": [
            {"name": f"engine-{at}", "address": host, "port": int(port)}
            for at, (host, _, port) in enumerate(entries)
        ]
    }
    file = folder / "endpoints.json"
    file.write_text(json.dumps(document))
    argv = (
        *(sys.executable, "-m", "epp", "serve", "--endpoints-file", file, "--bind-address", "127.0.0.1"),
        *(*_PORTS, "--scrape-metrics=false", "--drain-timeout", "1s", *flags),
    )
    async with ChildProcess("picker", argv, folder / "picker.log", stop_grace_s=60) as process:
        await until_ready(int(process.ready["metrics_port"]))
        yield process


async def until_ready(metrics_port: int) -> None:
    """Wait until the picker has somebody to pick, and its tokenizer if it has one."""
    async with (
        asyncio.timeout(_READY_S),
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{metrics_port}") as pages,
    ):
        while not _is_ready((await pages.get("/readyz")).json()):
            await asyncio.sleep(0.02)


def _is_ready(page: Any) -> bool:
    return bool(page["ready"]) and not str(page["parts"].get("tokenizer", "")).startswith("loading")


async def command(*arguments: str | Path) -> tuple[int, str, str]:
    """``epp conformance`` with these arguments: exit status, standard output, standard error."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "epp", "conformance", *arguments),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(_COMMAND_S):
            output, errors = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode is not None
    return process.returncode, output.decode(), errors.decode()


def ids(report: Any, verdict: str, level: str | None = None) -> set[str]:
    """The cases of a report that ended so."""
    return {
        result["id"]
        for result in report["results"]
        if result["verdict"] == verdict and level in (None, result["level"])
    }
