"""CPU of a picker that watches pods of a real API server: ``python -m tests.bench.pods`` prints JSON lines.

Figures for each size of pool: from the start until the pool is whole, nothing happening, pods that become
Ready or not at a rate. No metrics page is read and nothing is picked. The baseline is the same picker over an
endpoints file. Building the API server takes minutes once, see docs/kubernetes.md.
"""

import argparse
import asyncio
import contextlib
import json
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import httpx

from epp.testing.kubeapi.objects import BINDINGS, PODS, POOLS, ROLES, pod, pool, reader, status
from epp.testing.kubeapi.server import Admin, ApiServer
from epp.testing.process import ChildProcess
from tests.bench.cpu import cpu_s

_FILLER: Final = {"bench/filler": "x" * 6800}
"""With it a pod has 7.5 KB, as those of engines have."""
_PORTS: Final = ("--grpc-port=0", "--grpc-health-port=0", "--metrics-port=0", "--secure-serving=false")
_START_S: Final = 120.0
_SETTLE_S: Final = 5.0


def report(name: str, value: float, unit: str, **more: object) -> None:
    """One figure."""
    print(json.dumps({"name": name, "value": round(value, 4), "unit": unit, **more}), flush=True)


@contextlib.asynccontextmanager
async def picker(folder: Path, pods: int, *flags: str) -> AsyncIterator[ChildProcess]:
    """A picker that knows all its pods."""
    argv = [sys.executable, "-m", "epp", "serve", *_PORTS, "--no-scrape-metrics", *flags]
    async with (
        ChildProcess("picker", argv, folder / "picker.log") as process,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{process.ready['metrics_port']}") as page,
        asyncio.timeout(_START_S),
    ):
        while len((await page.get("/debug/workers")).json()["workers"]) < pods:
            await asyncio.sleep(0.05)
        yield process


async def cores(pid: int, seconds: float) -> float:
    """Cores used for a while."""
    before_s = cpu_s(pid)
    await asyncio.sleep(seconds)
    return (cpu_s(pid) - before_s) / seconds


def resident_mb(pid: int) -> float:
    """Memory."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * 4096 / 1e6


def address(number: int) -> str:
    """Of a pod."""
    return f"10.1.{number // 250}.{number % 250 + 1}"


def fill(admin: Admin, first: int, last: int) -> None:
    """Pods with these numbers."""
    for number in range(first, last):
        admin.create(PODS.format("default"), pod(f"w{number}", {"app": "a"}, _FILLER))
        be(admin, number, ready=True)


def be(admin: Admin, number: int, *, ready: bool) -> None:
    """One pod becomes Ready, or not."""
    path = f"{PODS.format('default')}/w{number}/status"
    admin.patch(path, status((address(number),), ready=ready))


def churn(admin: Admin, pods: int, per_s: float, seconds: float) -> float:
    """Pods in turn become not Ready and Ready again; the rate that came of it."""
    began_s, changes = time.monotonic(), 0
    while time.monotonic() - began_s < seconds:
        be(admin, changes // 2 % pods, ready=changes % 2 == 1)
        changes += 1
        time.sleep(max(0.0, began_s + changes / per_s - time.monotonic()))
    return changes / (time.monotonic() - began_s)


async def measure(server: ApiServer, folder: Path, pods: int, arguments: argparse.Namespace) -> None:
    """All figures of one size of pool."""
    config = server.kubeconfig("bench", {"token": "bench"})
    async with picker(folder, pods, "--pool-name=pool", f"--kubeconfig={config}") as process:
        report(f"pods_{pods}_until_listed_cpu", cpu_s(process.pid), "s")
        await asyncio.sleep(_SETTLE_S)
        report(f"pods_{pods}_idle", await cores(process.pid, arguments.seconds), "cores")
        for per_s in arguments.rates:
            changing = asyncio.to_thread(churn, server.admin, pods, per_s, arguments.seconds)
            rate, used = await asyncio.gather(changing, cores(process.pid, arguments.seconds))
            report(f"pods_{pods}_changing", used, "cores", changes_per_s=round(rate, 1))
        report(f"pods_{pods}_resident", resident_mb(process.pid), "MB")


async def baseline(folder: Path, arguments: argparse.Namespace) -> None:
    """The same picker with one endpoint from a file."""
    endpoints = folder / "endpoints.yaml"
    endpoints.write_text("endpoints:\n- {name: w, address: 10.1.0.1, port: '8000'}\n")
    async with picker(folder, 1, f"--endpoints-file={endpoints}") as process:
        report("file_until_listed_cpu", cpu_s(process.pid), "s")
        await asyncio.sleep(_SETTLE_S)
        report("file_idle", await cores(process.pid, arguments.seconds), "cores")
        report("file_resident", resident_mb(process.pid), "MB")


async def main() -> None:
    """Parse arguments, start everything, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pods", type=int, nargs="+", default=[500, 2000])
    parser.add_argument("--rates", type=float, nargs="+", default=[20.0, 100.0])
    parser.add_argument("--seconds", type=float, default=30.0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="epp-bench-") as made:
        folder = Path(made)
        await baseline(folder, arguments)
        async with ApiServer(folder, {"bench": "bench"}) as server:
            await server.install()
            role, binding = reader("bench")
            server.admin.create(ROLES.format("default"), role)
            server.admin.create(BINDINGS.format("default"), binding)
            server.admin.create(POOLS.format("default"), pool("pool", {"app": "a"}, (8000,)))
            present = 0
            for pods in arguments.pods:
                await asyncio.to_thread(fill, server.admin, present, pods)
                present = pods
                await measure(server, folder, pods, arguments)
