"""``epp demo``: the same load behind two policies on this machine, and a table of the difference.

Then a second act: prefill and decode on engines of their own, with a frontend beside each decode engine.
"""

import argparse
import asyncio
import json
import signal
import sys
import tempfile
from collections.abc import Coroutine, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from epp.cli.demo_progress import progress
from epp.cli.demo_report import (
    ActResult,
    SplitResult,
    shortcomings,
    split_shortcomings,
    split_table,
    table,
)
from epp.cli.demo_split import SplitStage, pairs, prompt_sources, split_stage
from epp.cli.demo_stage import ENGINES, MODEL, Stage, stage
from epp.testing.envoy import EnvoyError
from epp.testing.load import LoadPlan, LoadSpec, Target, drive, make_plan, summarize
from epp.testing.process import ChildError, cpu_s
from epp.testing.vocab import build_model_dir

_BEFORE, _AFTER = "round-robin", "ttft"
_SPLIT = "split"
_SPLIT_S = 8.0
"""Length of the second act's load."""
_OVERTIME_S = 10.0
"""How long after the last planned arrival answers may take."""
_INTERRUPTED = 130
"""Exit status after Ctrl-C, as shells report SIGINT."""


def run(argv: Sequence[str]) -> int:
    """Run the demo; exit status 0 if the KV-aware policy is better and pairs serve, 1 otherwise."""
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


def split_spec(rate_per_s: float) -> LoadSpec:
    """The second act's load: shorter, for one prefill → decode pair shows as much as a thousand."""
    return replace(load_spec(_SPLIT_S, rate_per_s), documents=6)


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
        split = _split(folder, model_path, console)
        async with split as third:
            result = await third.stage.watched(
                _split_act(third, make_plan(split_spec(options.rate)), console)
            )
            console.print(split_table(result))
            for problem in (found := split_shortcomings(result)):
                console.print(f"Not good: {problem}", markup=False)
            problems += found
            if not options.once:
                await _stay(third.stage, console)
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


def _split(folder: Path, model_path: Path, console: Console) -> AbstractAsyncContextManager[SplitStage]:
    console.print(f"{_SPLIT:<12} two prefill and two decode engines, a frontend beside each decode engine …")
    (folder / "split").mkdir()
    return split_stage(folder / "split", model_path)


async def _split_act(on: SplitStage, plan: LoadPlan, console: Console) -> SplitResult:
    picked, had, started_cpu_s = await pairs(on.stage), await prompt_sources(on), _frontends_cpu_s(on)
    target = Target("127.0.0.1", on.stage.envoy.port, MODEL)
    with progress(console, f"{_SPLIT:<12}") as report:
        outcomes = await drive(plan, target, deadline_s=plan.spec.seconds + _OVERTIME_S, progress=report)
    return SplitResult(
        summarize(outcomes),
        await pairs(on.stage) - picked,
        await prompt_sources(on) - had,
        _frontends_cpu_s(on) - started_cpu_s,
    )


def _frontends_cpu_s(on: SplitStage) -> float:
    return sum(cpu_s(child.pid) for child in on.frontends)


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
