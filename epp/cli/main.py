"""Arguments to subcommand. Flags alone serve, so that charts written for other pickers work."""

import importlib
import sys
from collections.abc import Callable, Sequence

from epp import __version__

_COMMANDS = {
    "serve": ("epp.cli.serve", "serve ext_proc (the default when the first argument is a flag)"),
    "demo": ("epp.cli.demo", "run everything on this machine: Envoy, simulated engines, the picker"),
    "check": ("epp.cli.check", "validate the configuration and show where each value came from"),
    "register": ("epp.cli.register", "register a worker with etcd for as long as this runs"),
    "conformance": ("epp.cli.conformance", "test any endpoint picker from outside, case by case"),
    "explain": ("epp.cli.explain", "ask a running picker what it would choose for a request, and why"),
}
"""Subcommand → (module with ``run(argv)``, one line of help). Imported only when chosen."""


def run(argv: Sequence[str]) -> int:
    """Run one subcommand; returns the exit status."""
    if not argv or argv[0] in ("-h", "--help", "help"):
        print(_usage(), file=sys.stdout if argv else sys.stderr)
        return 0 if argv else 2
    if argv[0] in ("--version", "version"):
        print(f"epp {__version__}")
        return 0
    if argv[0].startswith("-"):
        return _load("serve")(argv)
    if argv[0] not in _COMMANDS:
        print(f"epp: there is no command {argv[0]!r}\n\n{_usage()}", file=sys.stderr)
        return 2
    return _load(argv[0])(argv[1:])


def _load(name: str) -> Callable[[Sequence[str]], int]:
    command: Callable[[Sequence[str]], int] = importlib.import_module(_COMMANDS[name][0]).run
    return command


def _usage() -> str:
    lines = [f"  {name:<11} {text}" for name, (_, text) in _COMMANDS.items()]
    return "\n".join(
        ["usage: epp COMMAND [flags]", "", *lines, "", "`epp COMMAND --help` lists the flags of one."]
    )
