"""``python -m epp.testing.engine``: simulated engines until SIGTERM or Ctrl-C.

When all of them listen, one JSON line goes to standard output:
``{"event": "ready", "engines": [{"name", "port", "kv_events_port", "kv_replay_port", ...}]}``.
"""

import argparse
import asyncio
import signal
import sys
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from dataclasses import asdict, fields
from pathlib import Path

import msgspec
import uvloop

from epp.testing.engine.config import EngineConfig
from epp.testing.engine.dock import KINDS
from epp.testing.engine.fleet import EngineSpec, Fleet, endpoints_file
from epp.testing.engine.tokenizer import load_tokenizer

_DEFAULTS = EngineConfig()
_NUMBERS = tuple(
    field.name for field in fields(EngineConfig) if isinstance(getattr(_DEFAULTS, field.name), int | float)
)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    text = (__doc__ or "").partition("\n")[0]
    result = argparse.ArgumentParser(prog="python -m epp.testing.engine", description=text)
    result.add_argument("--engines", type=int, default=1, help="how many, each on ports of its own")
    result.add_argument("--name-prefix", default="engine", help="engines are called PREFIX-0, PREFIX-1 …")
    result.add_argument(
        "--ports", type=int, nargs="*", default=[], help="HTTP ports; none: the kernel chooses"
    )
    result.add_argument("--model-path", type=Path, help="folder with tokenizer.json; none: bytes are tokens")
    result.add_argument("--model-name", default=_DEFAULTS.model)
    result.add_argument("--lora", action="append", default=[], metavar="NAME", help="serve an adapter")
    result.add_argument("--role", default="aggregated", choices=("aggregated", "prefill", "decode"))
    result.add_argument(
        "--engine", default="vllm", choices=KINDS, help="whose contract hands a computed prompt over"
    )
    result.add_argument("--topic", help="event topic; none: kv@host:port@model")
    result.add_argument("--no-kv-events", action="store_true", help="publish no KV events")
    result.add_argument("--endpoints-file", type=Path, help="write the engines' endpoints file here")
    for name in _NUMBERS:
        default: float = getattr(_DEFAULTS, name)
        result.add_argument(f"--{name.replace('_', '-')}", type=type(default), default=default)
    return result


def specs(options: argparse.Namespace) -> list[EngineSpec]:
    """The engines asked for. Raises ValueError."""
    if options.ports and len(options.ports) != options.engines:
        raise ValueError("--ports needs one port per engine")
    numbers = {name: getattr(options, name) for name in _NUMBERS}
    config = EngineConfig(model=options.model_name, loras=tuple(options.lora), **numbers)
    return [
        EngineSpec(
            name=f"{options.name_prefix}-{index}",
            config=config,
            port=options.ports[index] if options.ports else 0,
            role=options.role,
            engine=options.engine,
            kv_events=not options.no_kv_events,
            topic=options.topic,
        )
        for index in range(options.engines)
    ]


async def serve(options: argparse.Namespace) -> None:
    """Start, announce, run until a signal."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with Fleet(specs(options), load_tokenizer(options.model_path)) as fleet:
        if options.endpoints_file:
            options.endpoints_file.write_text(endpoints_file(fleet.addresses))
        ready = {"event": "ready", "engines": [asdict(address) for address in fleet.addresses]}
        sys.stdout.write(msgspec.json.encode(ready).decode() + "\n")
        sys.stdout.flush()
        await _first(stop.wait(), fleet.wait())


async def _first(*waits: Coroutine[object, object, object]) -> None:
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    done, rest = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in rest:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    for task in done:
        task.result()


def main(argv: Sequence[str] | None = None) -> int:
    """Run; returns the exit status."""
    options = parser().parse_args(argv)
    try:
        uvloop.run(serve(options))
    except (OSError, ValueError) as error:
        sys.stderr.write(f"simulated engine: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
