"""The C tests under sanitizers, and the fuzz targets over their committed corpora."""

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest

Build: TypeAlias = Callable[[str], Path]

CORPUS = Path(__file__).parents[1] / "fuzz" / "c" / "corpus"


def run(binary: Path, *arguments: str) -> str:
    done = subprocess.run([str(binary), *arguments], capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_every_allocation_may_fail(built: Build) -> None:
    assert "failures survived" in run(built("address") / "test_memory")


@pytest.mark.parametrize("sanitizer", ["address", "thread"])
def test_any_thread_may_call_anything(built: Build, sanitizer: str) -> None:
    run(built(sanitizer) / "test_threads", "1000")


@pytest.mark.parametrize("target", ["payload", "snapshot", "calls"])
def test_the_corpus_replays(built: Build, target: str) -> None:
    inputs = sorted(str(path) for path in (CORPUS / target).iterdir())
    assert inputs
    assert run(built("address") / f"replay_{target}", *inputs) == f"{len(inputs)} inputs\n"
