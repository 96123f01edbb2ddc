"""The demo's second act: prefill on one engine, decode on another, both chosen before the request arrives.

Envoy asks the picker, which answers with a pair; the request goes to the frontend beside the decode engine,
which was told both workers in headers, has the prompt computed by the first and the answer by the second.
"""

import asyncio
import json
import re
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from epp.cli.demo_stage import Stage, engines, picker, python, read, running
from epp.testing.process import ChildProcess

_EACH = 2
"""Prefill engines, and decode engines."""
_POLICY = "ttft"
_SOURCE = re.compile(r'^vllm:prompt_tokens_by_source_total\{.*source="(\w+)".*\} (\S+)$', re.MULTILINE)


@dataclass(frozen=True, slots=True)
class SplitStage:
    """The second act, running."""

    stage: Stage
    frontends: tuple[ChildProcess, ...]
    decode_ports: tuple[int, ...]


@asynccontextmanager
async def split_stage(folder: Path, model_path: Path) -> AsyncGenerator[SplitStage]:
    """Start everything and wait until a request is answered. Raises ChildError, EnvoyError."""
    prefill_file, decode_file = folder / "prefill.yaml", folder / "decode.yaml"
    async with AsyncExitStack() as stack:
        started = await asyncio.gather(
            stack.enter_async_context(_role("prefill", folder, model_path, prefill_file)),
            stack.enter_async_context(_role("decode", folder, model_path, decode_file)),
        )
        prefill, decode = (_entries(path) for path in (prefill_file, decode_file))
        known = _written(folder / "workers.yaml", [*prefill, *decode])
        frontends = await asyncio.gather(
            *(stack.enter_async_context(_frontend(folder, known, entry["name"])) for entry in decode)
        )
        ports = [int(child.ready["http_port"]) for child in frontends]
        behind = [_behind(entry, port) for entry, port in zip(decode, ports, strict=True)]
        endpoints = _written(folder / "endpoints.yaml", [*prefill, *behind])
        picked = picker(folder, model_path, endpoints, _POLICY)
        stage = await stack.enter_async_context(running(picked, *started, *frontends))
        decode_ports = tuple(int(entry["port"]) for entry in decode)
        yield SplitStage(stage, tuple(frontends), decode_ports)


def _role(role: str, folder: Path, model_path: Path, endpoints: Path) -> ChildProcess:
    more = ("--role", role, "--name-prefix", role)
    return engines(role, folder, model_path, endpoints, *more, count=_EACH)


def _frontend(folder: Path, known: Path, beside: str) -> ChildProcess:
    flags = (
        "--http-host", "127.0.0.1",
        "--http-port", "0",
        "--router-mode", "direct",
        "--endpoints-file", known,
    )  # fmt: skip
    return python(f"frontend-{beside}", folder, "frontend", flags, {})


def _entries(path: Path) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = yaml.safe_load(path.read_text())["endpoints"]
    return entries


def _behind(entry: dict[str, Any], port: int) -> dict[str, Any]:
    """A decode worker as the picker knows it: requests go to the frontend, load and events come from the
    engine."""
    page = f"http://{entry['address']}:{entry['port']}/metrics"
    return entry | {"port": str(port), "metrics": page}


def _written(path: Path, entries: Sequence[dict[str, Any]]) -> Path:
    path.write_text(yaml.safe_dump({"endpoints": list(entries)}, sort_keys=False))
    return path


async def pairs(on: Stage) -> Counter[tuple[str, str]]:
    """Which pairs the picker chose lately; an empty prefill name is a request that was not split."""
    page = await asyncio.to_thread(read, f"http://{on.admin}/debug/picks?n=512")
    return Counter((_name(pick["prefill_worker"]), _name(pick["worker"])) for pick in json.loads(page))


def _name(worker: dict[str, str] | None) -> str:
    return "" if worker is None else worker["name"]


async def prompt_sources(on: SplitStage) -> Counter[str]:
    """Where the prompt tokens of the decode engines came from, by their own counters."""
    found: Counter[str] = Counter()
    for port in on.decode_ports:
        page = (await asyncio.to_thread(read, f"http://127.0.0.1:{port}/metrics")).decode()
        for source, value in _SOURCE.findall(page):
            found[source] += int(float(value))
    return found
