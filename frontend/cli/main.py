"""``frontend [flags]`` serves; ``frontend check [flags]`` validates and shows where each value came from."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from epp import __version__
from epp.config.errors import ConfigError
from epp.config.flags import build_parser
from epp.config.table import shown_value, value_at
from epp.config.tree import MAX_DOCUMENT_BYTES
from frontend.config.dump import dump
from frontend.config.load import Loaded, load_frontend
from frontend.config.settings import TABLE

_WIDEST = 40
"""Columns are padded up to here; a longer value pushes its line."""


def run(argv: Sequence[str]) -> int:
    """Run the command line; returns the exit status: 2 for what cannot be used."""
    if any(word in ("-h", "--help") for word in argv):
        print(build_parser(TABLE, "frontend [check]", with_help=True).format_help(), end="")
        return 0
    if argv and argv[0] in ("--version", "version"):
        print(f"frontend {__version__}")
        return 0
    checking = bool(argv) and argv[0] == "check"
    try:
        loaded = load_frontend(argv[checking:], os.environ, _read_file)
        _dump(loaded)
        if checking:
            from frontend.pipeline.knobs import knobs_of  # noqa: PLC0415 -- heavy imports, not for --help

            knobs_of(loaded.config)
            print(_as_table(loaded), flush=True)
            return 0
        from frontend.cli.serving import run_server  # noqa: PLC0415 -- the same

        return run_server(loaded)
    except BrokenPipeError:  # `frontend check | head`; the interpreter must not try to flush again
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (ConfigError, OSError) as error:
        print(f"frontend: {error}", file=sys.stderr)
        return 2


def _read_file(path: str) -> bytes:
    with Path(path).open("rb") as file:
        return file.read(MAX_DOCUMENT_BYTES + 1)


def _dump(loaded: Loaded) -> None:
    path = loaded.config.dump_config_to
    if path is not None:
        Path(path).write_bytes(dump(loaded))


def _as_table(loaded: Loaded) -> str:
    rows = [
        (path, shown_value(value_at(loaded.config, path)), str(source))
        for path, source in loaded.sources.items()
        if path in TABLE.by_path
    ]
    widths = [min(_WIDEST, max(len(row[i]) for row in rows)) for i in (0, 1)]
    lines = [f"{path:<{widths[0]}}  {value:<{widths[1]}}  {source}" for path, value, source in rows]
    return "\n".join([*lines, *(f"warning: {warning}" for warning in loaded.warnings)])
