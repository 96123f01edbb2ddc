"""Builds the C tests once per sanitizer, and for arm64; needs a C compiler, as building the core does."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BUILDS = {"address": "address,undefined", "thread": "thread"}

Build = Callable[[str], Path]


def _missing(what: str) -> None:
    if os.environ.get("EPP_REQUIRE_ALL"):
        pytest.fail(what)
    pytest.skip(what)


# The tools that pip installed come first.
PATH = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])


def _cmake(*arguments: str) -> None:
    done = subprocess.run(
        ["cmake", *arguments],
        cwd=ROOT,
        env={**os.environ, "PATH": PATH},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def _has_sanitizer(name: str, folder: Path) -> bool:
    source, binary = folder / "probe.c", folder / "probe"
    source.write_text("int main(void) { return 0; }\n")
    compiled = subprocess.run(
        [os.environ.get("CC", "cc"), f"-fsanitize={name}", str(source), "-o", str(binary)],
        capture_output=True,
        check=False,
    )
    return (
        compiled.returncode == 0
        and subprocess.run([str(binary)], capture_output=True, check=False).returncode == 0
    )


@pytest.fixture(scope="session")
def on_arm64() -> Callable[[str], list[str]]:
    """The command line of a C test as arm64 code; skips where the compiler or the emulator is missing."""
    compiler = shutil.which("aarch64-linux-gnu-gcc")
    emulator = shutil.which("qemu-aarch64-static") or shutil.which("qemu-aarch64")
    if not compiler or not emulator or not shutil.which("ninja", path=PATH):
        pytest.skip("no arm64 cross compiler and emulator (gcc-aarch64-linux-gnu, qemu-user-static)")
    folder = ROOT / "build" / "test-arm64"
    target = [
        "-DCMAKE_SYSTEM_NAME=Linux",
        "-DCMAKE_SYSTEM_PROCESSOR=aarch64",
        f"-DCMAKE_C_COMPILER={compiler}",
    ]
    linked = [
        "-DEPP_TESTS=ON",
        "-DCMAKE_EXE_LINKER_FLAGS=-static",
    ]  # runs without the other machine's libraries
    _cmake("-S", "cabi", "-B", str(folder), "-G", "Ninja", *target, *linked)
    _cmake("--build", str(folder))
    return lambda name: [emulator, str(folder / "tests" / name)]


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """Folder of the binaries built under a sanitizer; kept between runs under ``build/``."""

    def build(sanitizer: str) -> Path:
        if not shutil.which("cmake", path=PATH) or not shutil.which("ninja", path=PATH):
            _missing("cmake and ninja are not installed")
        if not _has_sanitizer(BUILDS[sanitizer], tmp_path_factory.mktemp("probe")):
            _missing(f"the compiler has no -fsanitize={BUILDS[sanitizer]}")
        folder = ROOT / "build" / f"test-{sanitizer}"
        options = ["-DEPP_TESTS=ON", f"-DEPP_SANITIZE={BUILDS[sanitizer]}", "-DCMAKE_BUILD_TYPE=Debug"]
        _cmake("-S", "cabi", "-B", str(folder), "-G", "Ninja", *options)
        _cmake("--build", str(folder))
        return folder / "tests"

    return build
