"""``epp register``: register a worker with etcd for as long as this runs.

Beside a worker (a sidecar, a supervisor) it makes the worker known to every picker and frontend that
discovers by etcd. Exit status: 0 after SIGTERM, 2 for arguments that cannot be used.
"""

import argparse
import asyncio
import logging
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from epp.config.errors import ConfigError
from epp.config.load import load_config
from epp.config.model import EtcdConfig
from epp.discovery.etcd_register import Registrar
from epp.wire.endpointsfile import EndpointsFileError

_SHARED = ("etcd-endpoints", "etcd-prefix", "etcd-ca-path", "etcd-cert-path", "etcd-key-path")
"""Flags of the picker that mean the same here, and its variables."""


def run(argv: Sequence[str]) -> int:
    """Run the subcommand; returns the exit status."""
    given = vars(_parser().parse_args(argv))
    try:
        etcd = _etcd_of(given)
        entry = _entry_of(given)
        logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
        asyncio.run(_register(Registrar(etcd, orjson.dumps(entry), given["ttl"])))
    except (ConfigError, EndpointsFileError, OSError) as error:
        print(f"epp register: {error}", file=sys.stderr)
        return 2
    return 0


def _etcd_of(given: Mapping[str, Any]) -> EtcdConfig:
    """The cluster, by the picker's flags and variables."""
    flags = [f"--{name}={given[name]}" for name in _SHARED if given[name] is not None]
    environ = {name: value for name, value in os.environ.items() if name.startswith(("ETCD_", "EPP_ETCD_"))}
    return load_config(flags, environ, _no_file).config.discovery.etcd


def _no_file(path: str) -> bytes:
    raise OSError(f"{path} is not read here")


def _entry_of(given: Mapping[str, Any]) -> dict[str, Any]:
    try:
        entry = orjson.loads(given["entry"])
    except orjson.JSONDecodeError as error:
        raise ConfigError(f"--entry is not JSON: {error}.") from error
    if not isinstance(entry, dict):
        raise ConfigError("--entry must be a JSON object.")
    return {**entry, **{name: given[name] for name in ("name", "address", "port") if given[name] is not None}}


async def _register(registrar: Registrar) -> None:
    """Register until SIGTERM or SIGINT; one line of JSON says when it is done for the first time."""
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    running = asyncio.create_task(registrar.run(), name="register")
    first = asyncio.create_task(_announce(registrar), name="announce")
    stopped = asyncio.create_task(stopping.wait(), name="stop")
    await asyncio.wait({running, stopped}, return_when=asyncio.FIRST_COMPLETED)
    for task in (first, stopped, running):
        task.cancel()
    await asyncio.wait({first, stopped, running})
    if not running.cancelled():
        running.result()


async def _announce(registrar: Registrar) -> None:
    await registrar.registered.wait()
    print(orjson.dumps({"event": "ready"}).decode(), flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("epp register", description=__doc__)
    for name in _SHARED:
        parser.add_argument(f"--{name}", dest=name, metavar="VALUE", help=f"as for `epp serve --{name}`")
    parser.add_argument("--name", help="name of the worker, unique in its namespace")
    parser.add_argument("--address", help="IP address or host name of its model server")
    parser.add_argument("--port", type=int, help="port of its model server")
    parser.add_argument("--entry", default="{}", help="further fields as JSON, see docs/workers.md")
    parser.add_argument(
        "--ttl", type=int, default=10, help="seconds until a worker that died is forgotten (10)"
    )
    return parser
