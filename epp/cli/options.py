"""The flags every subcommand that takes a configuration shares, and the configuration of this process."""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from epp.config.flags import build_parser as build_flag_parser
from epp.config.load import Loaded, load_config
from epp.config.settings import TABLE
from epp.config.tree import MAX_DOCUMENT_BYTES


def build_parser(prog: str) -> argparse.ArgumentParser:
    """A parser of every setting's flag, with help; its errors are ConfigError."""
    return build_flag_parser(TABLE, prog, with_help=True)


def wants_help(argv: Sequence[str]) -> bool:
    """Whether the command line asks for help."""
    return any(word in ("-h", "--help") for word in argv)


def load(argv: Sequence[str]) -> Loaded:
    """The configuration by these flags, this process's environment and its files; raises ConfigError."""
    return load_config(argv, os.environ, _read_file)


def _read_file(path: str) -> bytes:
    with Path(path).open("rb") as file:
        return file.read(MAX_DOCUMENT_BYTES + 1)
