"""The same calls on the core through its Go face (``cabi/go/bench_test.go``), as JSON lines.

Nothing is printed where there is no ``go``. One thread, but for ``*_threads_*``; wall clock.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

_MODULE = Path(__file__).parents[2] / "cabi"
_LINE = re.compile(r"^Benchmark(?P<what>\S+?)(?:-(?P<cpus>\d+))?\s+\d+\s+(?P<ns>[\d.]+) ns/op(?P<rest>.*)$")
_BLOCKS = re.compile(r"([\d.e+]+) blocks/s")
_LIMIT_S = 300.0


def _print(name: str, value: float, unit: str) -> None:
    print(json.dumps({"name": name, "value": float(f"{value:.6g}"), "unit": unit}), flush=True)


def _lines(go: str, what: str, cpus: str) -> list[re.Match[str]]:
    """The benchmarks whose names match, run with so many threads."""
    command = [go, "test", "./go", "-run", "^$", "-bench", what, "-benchtime", "0.3s", "-cpu", cpus]
    environment = {**os.environ, "GOFLAGS": "-mod=mod"}
    done = subprocess.run(
        command, cwd=_MODULE, env=environment, capture_output=True, text=True, timeout=_LIMIT_S, check=False
    )
    if done.returncode:
        print(done.stdout + done.stderr, file=sys.stderr)
        return []
    return [match for match in map(_LINE.match, done.stdout.splitlines()) if match]


def _one_thread(go: str) -> None:
    for line in _lines(go, "^Benchmark(Select|ReserveAndFree|ApplyFlat|ApplyMsgpack)$", "1"):
        what, ns = line["what"], float(line["ns"])
        blocks = _BLOCKS.search(line["rest"])
        if what.startswith("Select/"):
            _print(f"select_{what.removeprefix('Select/')}_go_us", ns / 1e3, "us")
        elif what == "ReserveAndFree":
            _print("reserve_free_2048_tokens_go_pairs_per_s", 1e9 / ns, "1/s")
        elif blocks:
            form = what.removeprefix("Apply").lower()
            _print(f"apply_{form}_go_blocks_per_s", float(blocks[1]), "1/s")


def _two_threads(go: str) -> None:
    rates = [1e9 / float(line["ns"]) for line in _lines(go, "^BenchmarkSelectParallel$", "1,2")]
    for threads, rate in enumerate(rates, start=1):
        _print(f"select_8192_tokens_64_workers_go_{threads}_threads_per_s", rate, "1/s")
    if rates:
        _print("select_8192_tokens_64_workers_go_scaling_2_threads", rates[-1] / rates[0], "1")


def main() -> int:
    """Run everything."""
    go = shutil.which("go")
    if go is None:
        print("no go on the path: its face is not measured", file=sys.stderr)
        return 0
    _one_thread(go)
    _two_threads(go)
    return 0


if __name__ == "__main__":
    sys.exit(main())
