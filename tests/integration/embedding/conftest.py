"""The library built once, and what its hosts need."""

import functools
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from cabi.embedding.build import BuildError, build

ROOT = Path(__file__).parents[3]
EXAMPLES = ROOT / "docs" / "examples"
DEADLINE_S = 100.0


def missing(what: str) -> None:
    """Skip for want of a component, unless everything is required."""
    if os.environ.get("EPP_REQUIRE_ALL"):
        pytest.fail(what)
    pytest.skip(what)


def run(
    argv: Sequence[str | Path], *, deadline_s: float = DEADLINE_S, cwd: Path = ROOT, **environment: str
) -> "subprocess.CompletedProcess[str]":
    """A finished child with both outputs; a variable that is empty is unset."""
    merged = {name: value for name, value in {**os.environ, **environment}.items() if value}
    return subprocess.run(
        [str(part) for part in argv],
        cwd=cwd, env=merged, capture_output=True, text=True, timeout=deadline_s, check=False,
    )  # fmt: skip


@functools.cache
def _go() -> str | None:
    """The Go command, if it is new enough for modules of ours."""
    beside = Path(sys.executable).with_name("go")
    go = str(beside) if beside.exists() else shutil.which("go")
    return go if go and run([go, "version"]).returncode == 0 else None


@pytest.fixture(scope="session")
def go() -> str:
    found = _go()
    if found is None:
        missing("go is not installed")
    assert found is not None
    return found


@pytest.fixture(scope="session")
def cc() -> str:
    compiler = shutil.which(os.environ.get("CC", "cc"))
    if compiler is None:
        missing("no C compiler is installed")
    assert compiler is not None
    return compiler


@pytest.fixture(scope="session")
def prefix(tmp_path_factory: pytest.TempPathFactory, cc: str) -> Path:
    """An installation of the library."""
    folder = tmp_path_factory.mktemp("prefix")
    try:
        build(folder)
    except BuildError as error:
        missing(str(error))
    return folder


@pytest.fixture(scope="session")
def compiled(prefix: Path, cc: str, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Compiles a C program; with ``link=True`` against the library."""

    def compile_(source: Path, *options: str, link: bool = False) -> Path:
        target = tmp_path_factory.mktemp("bin") / source.stem
        linked = [f"-L{prefix}/lib", "-lepp_request", f"-Wl,-rpath,{prefix}/lib"] if link else []
        strict = ["-std=c11", "-Wall", "-Wextra", "-Werror", "-D_GNU_SOURCE", f"-I{prefix}/include"]
        done = run([cc, *strict, *options, str(source), *linked, "-o", target, "-ldl", "-lpthread"])
        assert done.returncode == 0, done.stderr
        return target

    return compile_
