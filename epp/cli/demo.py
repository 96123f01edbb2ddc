"""``epp demo``: the same load behind two policies on this machine, and a table of the difference."""

import argparse
import asyncio
import json
import signal
import sys
import tempfile
from collections.abc import Coroutine, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from pathlib import Path
from typing import Any

from rich.console import Console

from epp.cli.demo_progress import progress
from epp.cli.demo_report import ActResult, shortcomings, table
from epp.cli.demo_stage import ENGINES, MODEL, Stage, stage
from epp.testing.envoy import EnvoyError
from epp.testing.load import LoadPlan, LoadSpec, Target, drive, make_plan, summarize
from epp.testing.process import ChildError, cpu_s
from epp.testing.vocab import build_model_dir

_BEFORE, _AFTER = "round-robin", "ttft"
_OVERTIME_S = 10.0
"""How long after the last planned arrival answers may take."""
_INTERRUPTED = 130
"""Exit status after Ctrl-C, as shells report SIGINT."""


def run(argv: Sequence[str]) -> int:
    """Run the demo; exit status 0 if the KV-aware policy is better, 1 if it is not or a part failed."""
    options = _parser().parse_args(argv)
    console = Console()
    try:
        return asyncio.run(_until_signal(_demo(options, console)))
    except (ChildError, EnvoyError) as error:
        print(f"epp demo: {error}", file=sys.stderr)
        return 1
    except asyncio.CancelledError:
        print("epp demo: interrupted; everything it started is stopped", file=sys.stderr)
        return _INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="epp demo", description=(__doc__ or "").partition(": ")[2])
    parser.add_argument(
        "--once", action="store_true", help="print the table and stop; status 1 if it disappoints"
    )
    parser.add_argument("--seconds", type=float, default=20.0, help="length of each of the two loads")
    parser.add_argument("--rate", type=float, default=10.0, help="requests per second")
    return parser


def load_spec(seconds: float, rate_per_s: float) -> LoadSpec:
    """The demo's load; see the engines' sizes in ``demo_stage`` for what it does to their caches."""
    return LoadSpec(
        seconds=seconds,
        rate_per_s=rate_per_s,
        chats=12,
        chat_turns=10,
        systems=4,
        system_words=1200,
        documents=10,
        document_words=3500,
    )


async def _until_signal(work: Coroutine[Any, Any, int]) -> int:
    """Run ``work``; the first SIGINT or SIGTERM cancels it, further ones must not disturb the clean-up."""
    task = asyncio.ensure_future(work)
    loop = asyncio.get_running_loop()

    def cancel_once() -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, lambda: None)
        task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, cancel_once)
    return await task


async def _demo(options: argparse.Namespace, console: Console) -> int:
    plan = make_plan(load_spec(options.seconds, options.rate))
    with tempfile.TemporaryDirectory(prefix="epp-demo-") as name:
        folder = Path(name)
        console.print(
            f"{ENGINES} simulated engines, Envoy, the picker; {len(plan.requests)} requests per policy"
        )
        model_path = await asyncio.to_thread(build_model_dir, folder / "model")
        async with _policy(folder, model_path, _BEFORE, console) as first:
            before = await first.watched(_act(first, plan, _BEFORE, console))
        async with _policy(folder, model_path, _AFTER, console) as second:
            after = await second.watched(_act(second, plan, _AFTER, console))
            console.print(table([before, after]))
            problems = shortcomings(before, after)
            for problem in problems:
                console.print(f"Not good: {problem}", markup=False)
            if not options.once:
                await _stay(second, console)
    return 1 if problems else 0


def _policy(
    folder: Path, model_path: Path, policy: str, console: Console
) -> AbstractAsyncContextManager[Stage]:
    console.print(f"{policy:<12} starting everything afresh …", markup=False)
    (folder / policy).mkdir()
    return stage(folder / policy, model_path, policy)


async def _act(on: Stage, plan: LoadPlan, policy: str, console: Console) -> ActResult:
    target = Target("127.0.0.1", on.envoy.port, MODEL)
    started_cpu_s = cpu_s(on.picker.pid)
    with progress(console, f"{policy:<12}") as report:
        outcomes = await drive(plan, target, deadline_s=plan.spec.seconds + _OVERTIME_S, progress=report)
    return ActResult(policy, summarize(outcomes), cpu_s(on.picker.pid) - started_cpu_s)


async def _stay(on: Stage, console: Console) -> None:
    body = json.dumps({"model": MODEL, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 20})
    lines = (
        "",
        f"Everything keeps running with policy {_AFTER}. Try",
        f"  curl -i http://127.0.0.1:{on.envoy.port}/v1/chat/completions -d '{body}'",
        "and look at",
        f"  http://{on.admin}/metrics",
        f"  http://{on.admin}/debug/picks",
        f"  echo '{body}' | epp explain --target {on.admin} -",
        "Ctrl-C stops everything.",
    )
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    with suppress(asyncio.CancelledError):
        await on.watched(asyncio.Event().wait())
