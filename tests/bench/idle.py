"""CPU of an idle picker that watches 100 workers: ``python -m tests.bench.idle`` prints JSON lines.

Every worker serves a metrics page of vLLM's size once a second on a port of its own; nothing else happens.
The page is as large as a real vLLM's (about 50 KB), so what is measured is receiving and reading it.
"""

import argparse
import asyncio
import contextlib
import json
import statistics
import sys
import tempfile
from pathlib import Path

import uvloop

from epp.testing.process import ChildProcess
from tests.bench.cpu import cpu_s

_SETTLE_S = 5.0


def page(size_bytes: int) -> bytes:
    """A Prometheus page with vLLM's figures at its end, among histograms."""
    lines = []
    length = 0
    number = 0
    while length < size_bytes:
        name = f"vllm:request_phase_{number // 40}_seconds_bucket"
        line = f'{name}{{engine="0",le="{(number % 40) * 0.25}",model_name="bench"}} {float(number)}\n'
        lines.append(line)
        length += len(line)
        number += 1
    labels = '{engine="0",model_name="bench"}'
    lines += [
        f"vllm:num_requests_running{labels} 3.0\n",
        f"vllm:num_requests_waiting{labels} 1.0\n",
        f"vllm:kv_cache_usage_perc{labels} 0.25\n",
        'vllm:cache_config_info{block_size="16",engine="0",num_gpu_blocks="4096"} 1.0\n',
    ]
    return "".join(lines).encode()


class _Pages(asyncio.Protocol):
    """Answers every request with the page."""

    def __init__(self, answer: bytes) -> None:
        self._answer = answer
        self._asked = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # uvloop's transports are no subclasses

    def data_received(self, data: bytes) -> None:
        self._asked += data
        while b"\r\n\r\n" in self._asked:
            self._asked = self._asked.partition(b"\r\n\r\n")[2]
            assert self._transport is not None
            self._transport.write(self._answer)


async def main() -> None:
    """Parse arguments, start everything, wait, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, default=100)
    parser.add_argument("--page-bytes", type=int, default=50_000)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--rounds", type=int, default=3)
    arguments, extra = parser.parse_known_args()
    body = page(arguments.page_bytes)
    head = f"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: {len(body)}\r\n\r\n".encode()
    loop = asyncio.get_running_loop()
    async with contextlib.AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="epp-bench-")))
        entries = []
        for number in range(arguments.workers):
            server = await loop.create_server(lambda: _Pages(head + body), "127.0.0.1", 0)
            stack.callback(server.close)
            port = server.sockets[0].getsockname()[1]
            entries.append(f"- {{name: w{number}, address: 127.0.0.1, port: '{port}'}}")
        endpoints = folder / "endpoints.yaml"
        endpoints.write_text("endpoints:\n" + "\n".join(entries) + "\n")
        argv = [
            *(sys.executable, "-m", "epp", "serve", "--endpoints-file", endpoints, "--secure-serving=false"),
            *("--grpc-port", "0", "--grpc-health-port", "0", "--metrics-port", "0", *extra),
        ]
        picker = await stack.enter_async_context(ChildProcess("picker", argv, folder / "picker.log"))
        await asyncio.sleep(_SETTLE_S)
        cores = []
        for _ in range(arguments.rounds):
            before_s = cpu_s(picker.pid)
            await asyncio.sleep(arguments.seconds)
            cores.append((cpu_s(picker.pid) - before_s) / arguments.seconds)
        figure = {
            "name": f"idle_{arguments.workers}_workers_cores",
            "value": round(statistics.median(cores), 4),
        }
        print(json.dumps({**figure, "unit": "cores", "page_bytes": len(body), "interval_s": 1.0}), flush=True)


if __name__ == "__main__":
    uvloop.run(main())
