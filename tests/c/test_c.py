"""The C tests under sanitizers, and the fuzz targets over their committed corpora."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest

Build: TypeAlias = Callable[[str], Path]

CORPUS = Path(__file__).parents[1] / "fuzz" / "c" / "corpus"
GOLDEN = Path(__file__).parents[1] / "golden"


def run(binary: Path | str, *arguments: str) -> str:
    done = subprocess.run([str(binary), *arguments], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_golden_vectors_are_read_from_the_files_that_python_and_go_read(built: Build) -> None:
    assert run(built("address") / "test_golden", str(GOLDEN)) == "28 vectors and 4000 choices, 0 differ\n"


def test_a_wrong_vector_is_noticed(built: Build, tmp_path: Path) -> None:
    shutil.copytree(GOLDEN / "hashes", tmp_path / "hashes")
    shutil.copytree(GOLDEN / "choices", tmp_path / "choices")
    blocks = tmp_path / "hashes" / "blocks.json"
    blocks.write_text(blocks.read_text().replace("16863443419780771464", "16863443419780771465", 1))
    done = subprocess.run(
        [str(built("address") / "test_golden"), str(tmp_path)], capture_output=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr == b"vector 1: local hashes differ\n"


def test_arm64_chooses_alike(on_arm64: Callable[[str], list[str]]) -> None:
    assert run(*on_arm64("test_golden"), str(GOLDEN)).endswith(" 0 differ\n")
    assert "failures survived" in run(*on_arm64("test_memory"))
    run(*on_arm64("test_threads"), "50")


def test_null_is_refused_by_every_call(built: Build) -> None:
    run(built("address") / "test_arguments")


def test_every_allocation_may_fail(built: Build) -> None:
    assert "failures survived" in run(built("address") / "test_memory")


def test_full_tables_refuse_and_stay_small(built: Build) -> None:
    run(built("address") / "test_limits")


@pytest.mark.parametrize("sanitizer", ["address", "thread"])
def test_what_another_call_does_between_is_seen(built: Build, sanitizer: str) -> None:
    run(built(sanitizer) / "test_between")


@pytest.mark.parametrize("sanitizer", ["address", "thread"])
def test_any_thread_may_call_anything(built: Build, sanitizer: str) -> None:
    run(built(sanitizer) / "test_threads", "1000")


@pytest.mark.parametrize("target", ["payload", "snapshot", "calls"])
def test_the_corpus_replays(built: Build, target: str) -> None:
    inputs = sorted(str(path) for path in (CORPUS / target).iterdir())
    assert inputs
    assert run(built("address") / f"replay_{target}", *inputs) == f"{len(inputs)} inputs\n"
