"""Programs and files out of Go modules: fetched through the module proxy, built once, kept in the cache.

Nothing of them is copied into this repository: a main package of a few lines is written beside a
``go.mod``, and ``go`` does the rest.
"""

import fcntl
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec

_BUILD_S: Final = 1500.0
_FETCH_S: Final = 600.0
_FETCHING: Final = ("mod", "install")
_PAUSES_S: Final = (5.0, 20.0, 60.0)
"""Between attempts at what needs the network: a proxy that hiccups is back by then."""
_NICENESS: Final = 10


_log = logging.getLogger(__name__)


class GoError(Exception):
    """Go is missing, or could not fetch or build something; the text has its words."""


class Module(msgspec.Struct, rename="pascal"):
    """A fetched module."""

    dir: str
    """Its files."""
    go_mod: str
    """Its go.mod."""


def find_go() -> str | None:
    """The ``go`` program: on PATH, where Go's own installer puts it, or in the virtual environment."""
    places = (Path("/usr/local/go/bin/go"), Path(sys.prefix, "go", "go", "bin", "go"))
    return shutil.which("go") or next((str(place) for place in places if place.exists()), None)


def cache_folder(name: str) -> Path:
    """A folder of ours below the user's cache folder."""
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(root, "llm-endpoint-picker", name)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextmanager
def locked(program: Path) -> Generator[None]:
    """Of several test runs at once, one builds a program and the others wait."""
    with program.with_name(f"{program.name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def fetch(path: str, version: str) -> Module:
    """A module's files, fetched unless they are there; raises GoError."""
    answer = run_go(["mod", "download", "-json", f"{path}@{version}"], Path("/"), _FETCH_S)
    return msgspec.json.decode(answer, type=Module)


def build(program: Path, files: Mapping[str, str], command: Sequence[str]) -> None:
    """Write a module's ``files``, let Go complete its requirements, and run a ``command`` that builds what
    becomes ``program``, whole or not at all; raises GoError."""
    with tempfile.TemporaryDirectory(prefix=f"{program.name}-") as name:
        folder = Path(name)
        for file, text in files.items():
            (folder / file).write_text(text)
        run_go(["mod", "tidy"], folder, _BUILD_S)
        run_go([command[0], "-o", "built", *command[1:]], folder, _BUILD_S)
        unfinished = program.with_name(f"{program.name}.new")
        shutil.copy2(folder / "built", unfinished)
        unfinished.rename(program)


def run_go(
    arguments: Sequence[str], folder: Path, timeout_s: float, environment: Mapping[str, str] | None = None
) -> bytes:
    """What a ``go`` command prints; raises GoError. What fetches is tried a few times: Go itself gives up at
    the first error of a proxy."""
    for pause_s in _PAUSES_S if arguments[0] in _FETCHING else ():
        try:
            return _run_once(arguments, folder, timeout_s, environment or {})
        except GoError as error:
            _log.warning("%s; trying again in %g s", error, pause_s)
            time.sleep(pause_s)
    return _run_once(arguments, folder, timeout_s, environment or {})


def _run_once(arguments: Sequence[str], folder: Path, timeout_s: float, more: Mapping[str, str]) -> bytes:
    go = find_go()
    if go is None:
        raise GoError("Go is not installed")
    environment = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-mod=mod", **more}
    try:
        done = subprocess.run(
            ["nice", "-n", str(_NICENESS), go, *arguments],
            cwd=folder,
            env=environment,
            capture_output=True,
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise GoError(f"go {arguments[0]} took more than {timeout_s:g} s") from error
    if done.returncode != 0:
        said = (done.stderr or done.stdout).decode(errors="replace")  # -json writes errors to standard output
        raise GoError(f"go {' '.join(arguments[:2])}: {said[-2000:]}")
    return done.stdout
