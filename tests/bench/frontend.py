"""CPU per request and per streamed chunk of the frontend, beside Envoy, beside the bare relay it is built
on, and beside a pump of bytes from socket to socket, which is what the kernel and the event loop cost.

``python -m tests.bench.frontend`` prints one JSON object per line. Relays take turns, several rounds each;
medians are printed. CPU is that of the relay's process alone, all threads, kernel time included
(``system_us``): client and model server, which share the machine, do not count. A request that goes to the
model server directly costs no relay anything, so ``value`` is what a relay adds to such a call;
``over_envoy_us``, ``over_pump_us`` and ``over_frontend_direct_us`` are what it adds to theirs. A chunk's cost
is that of a streamed request less that of a whole one of the same size. To ``frontend_direct`` requests name
their worker in ``x-dynamo-worker-instance-id``; ``frontend_discover`` chooses without a tokenizer, by turns,
``…_kv`` and ``…_ttft`` render, tokenize and compare caches first. At last a frontend holds ``--idle-streams``
that are open and silent.

Further arguments go to every frontend. ``--relay NAME=COMMAND`` adds another relay: ``{engine}`` in the
command becomes a model server's ``ip:port``; the command prints ``{"event": "ready", "http_port": N}``.
"""

import argparse
import asyncio
import itertools
import json
import random
import statistics
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import uvloop

from tests.bench.cpu import cpu_s
from tests.bench.frontend_engine import MODEL
from tests.bench.frontend_idle import bytes_per_stream
from tests.bench.frontend_stage import ALL, FRONTENDS, USUAL, Relay, stage
from tests.bench.picker import UnreadMeter
from tests.bench.tokenize import prose, vocabulary

_OK = 200
_PATH = "/v1/chat/completions"
_HEADERS = {
    "user-agent": "bench/1",
    "accept": "*/*",
    "authorization": "Bearer none",
    "x-request-id": "3d9b5452-e296-47a8-9008-ecf17b559d6d",
    "x-forwarded-proto": "http",
    "x-dynamo-worker-instance-id": "1",
}
_CHOOSES = frozenset(FRONTENDS) - {"frontend_direct", "frontend_direct_unlogged"}
"""Whose requests name no worker."""
_BESIDE = ("envoy", "pump", "frontend_direct")
_IDLE = "frontend_direct"


@dataclass(frozen=True, slots=True)
class Case:
    """One shape of traffic."""

    name: str
    body_bytes: int
    shared: float
    """Part of the text that earlier requests had as their beginning."""
    clients: int
    requests: int
    chunks: int = 0
    """Events of about 100 bytes of the answer; 0: one JSON answer."""
    pause_ms: int = 0
    """Between two of them."""


CASES = (
    Case("1kb", 1_000, 0.0, 16, 1200),
    Case("16kb", 16_000, 0.9, 16, 800),
    Case("16_streams", 1_000, 0.0, 16, 32, chunks=200, pause_ms=2),
    Case("128_streams", 1_000, 0.0, 128, 128, chunks=200, pause_ms=10),
)


@dataclass(frozen=True, slots=True)
class Spent:
    """CPU of a relay, per request."""

    total_us: float
    system_us: float
    """The kernel's part, as far as the clock's ticks tell."""


class Bodies:
    """Chat bodies of one case, every one new at its end."""

    def __init__(self, case: Case) -> None:
        self._rng = random.Random(case.name)
        self._words = vocabulary(self._rng, 4000)
        self._case = case
        self._head = prose(self._rng, self._words, int(case.body_bytes * case.shared))

    def __iter__(self) -> Iterator[bytes]:
        stream = {"stream": True} if self._case.chunks else {}
        while True:
            tail = prose(self._rng, self._words, self._case.body_bytes - len(self._head) - 150)
            messages = [
                {"role": "system", "content": "Answer briefly."},
                {"role": "user", "content": self._head + tail},
            ]
            yield json.dumps({"model": MODEL, "messages": messages, "max_tokens": 64, **stream}).encode()


def _headers(relay: Relay, case: Case) -> dict[str, str]:
    headers = dict(_HEADERS)
    if relay.name in _CHOOSES:
        del headers["x-dynamo-worker-instance-id"]
    if case.chunks:
        headers |= {"x-events": str(case.chunks), "x-pause-ms": str(case.pause_ms)}
    return headers


def _ticks(pid: int) -> tuple[int, int]:
    """(user, system) time so far, in ticks of the clock (proc(5), ``/proc/PID/stat``)."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return int(fields[11]), int(fields[12])


async def drive(relay: Relay, case: Case, bodies: list[bytes]) -> Spent:
    """Send all. Raises RuntimeError if any was not answered with 200."""
    headers = _headers(relay, case)
    left = iter([relay.client.request(_PATH, body, headers) for body in bodies])

    async def one_client() -> None:
        for request in left:
            meter = UnreadMeter(0.0)
            await relay.client.post(request, meter)
            if meter.response.status != _OK:
                raise RuntimeError(f"{relay.name}: {meter.response.status}")

    before_s, before = cpu_s(relay.pid), _ticks(relay.pid)
    async with asyncio.TaskGroup() as group:
        for _ in range(case.clients):
            group.create_task(one_client())
    used_us = (cpu_s(relay.pid) - before_s) / len(bodies) * 1e6
    user, system = (now - then for now, then in zip(_ticks(relay.pid), before, strict=True))
    return Spent(used_us, used_us * system / ((user + system) or 1))


async def measure(relays: list[Relay], case: Case, rounds: int) -> dict[str, Spent]:
    """Medians by relay, of one case run on all of them by turns."""
    figures: dict[str, list[Spent]] = {relay.name: [] for relay in relays}
    bodies = iter(Bodies(case))
    for number in range(rounds + 1):
        made = list(itertools.islice(bodies, case.requests if number else max(20, case.requests // 4)))
        for relay in relays:
            used = await drive(relay, case, made)
            if number:  # the first round warms up
                figures[relay.name].append(used)
    return {
        name: Spent(
            statistics.median(used.total_us for used in values),
            statistics.mean(used.system_us for used in values),  # ticks are coarse: a mean has more of them
        )
        for name, values in figures.items()
    }


def show(figure: str, figures: dict[str, Spent], about: dict[str, int]) -> None:
    """One line per relay."""
    for name, used in figures.items():
        line: dict[str, object] = {"name": f"{name}_{figure}", "value": round(used.total_us, 2), "unit": "us"}
        line["system_us"] = round(used.system_us, 2)
        for other in _BESIDE:
            if other in figures and other != name:
                line[f"over_{other}_us"] = round(used.total_us - figures[other].total_us, 2)
        print(json.dumps(line | about), flush=True)


def per_chunk(streamed: Spent, whole: Spent, chunks: int) -> Spent:
    """What one chunk costs."""
    return Spent(
        (streamed.total_us - whole.total_us) / chunks, (streamed.system_us - whole.system_us) / chunks
    )


def _arguments() -> tuple[argparse.Namespace, list[str]]:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", help="names of cases, comma separated")
    parser.add_argument("--relays", help=f"comma separated, of {', '.join(ALL)}")
    parser.add_argument("--relay", action="append", default=[], metavar="NAME=COMMAND")
    parser.add_argument("--idle-streams", type=int, default=5000)
    return parser.parse_known_args()


async def _run(relays: list[Relay], wanted: set[str], rounds: int) -> None:
    whole: dict[str, Spent] = {}
    for case in CASES:
        if case.name not in wanted and (whole or wanted.isdisjoint(c.name for c in CASES if c.chunks)):
            continue  # the first is needed for every stream
        medians = await measure(relays, case, rounds)
        whole = whole or medians
        about = {"clients": case.clients, "rounds": rounds, "requests": case.requests}
        if not case.chunks:
            show(f"{case.name}_us_per_request", medians, about)
            continue
        chunks = {name: per_chunk(used, whole[name], case.chunks) for name, used in medians.items()}
        show(f"{case.name}_us_per_chunk", chunks, about)


async def _hold(relay: Relay, streams: int) -> None:
    """Print what a silent stream keeps in memory."""
    case = CASES[-1]
    body = next(iter(Bodies(case)))
    used = await bytes_per_stream(relay, _PATH, body, _headers(relay, case), streams)
    name = f"{relay.name}_bytes_per_idle_stream"
    print(json.dumps({"name": name, "value": round(used), "unit": "bytes", "streams": streams}), flush=True)


async def main() -> None:
    """Parse arguments and run the cases."""
    arguments, extra = _arguments()
    commands = dict(text.split("=", 1) for text in arguments.relay)
    names = [*(arguments.relays.split(",") if arguments.relays else USUAL), *commands]
    wanted = set(arguments.only.split(",")) if arguments.only else {case.name for case in CASES}
    with tempfile.TemporaryDirectory(prefix="epp-bench-") as folder:
        async with stage(Path(folder), names, commands, extra) as relays:
            await asyncio.sleep(3)  # models load, workers are asked what they serve
            await _run(relays, wanted, arguments.rounds)
            for relay in relays:
                if relay.name == _IDLE and arguments.idle_streams:
                    await _hold(relay, arguments.idle_streams)


if __name__ == "__main__":
    uvloop.run(main())
