"""The demo as a user runs it: real Envoy, real picker, real sockets, in a process of its own."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

pytestmark = [pytest.mark.envoy, pytest.mark.slow]


@asynccontextmanager
async def demo(tmp_path: Path, *flags: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """``epp demo``, with its temporary files where the test can see them; killed if the test fails."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "epp", "demo", *flags),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, "TMPDIR": str(tmp_path), "COLUMNS": "100"},
        start_new_session=True,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def left_behind(tmp_path: Path) -> list[str]:
    """Command lines of processes that still use files under ``tmp_path``."""
    found: list[str] = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                line = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if str(tmp_path) in line:
                found.append(line)
    return found


def cells(output: str, label: str) -> list[str]:
    """The two values of a row of the table."""
    (row,) = [line for line in output.splitlines() if label in line and "│" in line]
    return [cell.strip() for cell in row.split("│")[2:4]]


async def test_the_demo_answers_everything_and_finds_more_prefixes_with_kv(tmp_path: Path) -> None:
    async with demo(tmp_path, "--once", "--seconds", "5", "--rate", "14") as process:
        raw, _ = await asyncio.wait_for(process.communicate(), 100)
    output = raw.decode()
    assert "Traceback" not in output
    assert cells(output, "requests  ") == ["70", "70"], output
    assert cells(output, "errors") == ["0", "0"], output
    before, after = (float(cell.rstrip("%")) for cell in cells(output, "prefix hit rate"))
    assert after > before
    assert process.returncode == (1 if "Not good" in output else 0)
    assert left_behind(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


async def test_an_interrupted_demo_stops_what_it_started(tmp_path: Path) -> None:
    async with demo(tmp_path, "--once", "--seconds", "8") as process:
        assert process.stdout is not None
        async with asyncio.timeout(100):
            while b"round-robin : " not in await process.stdout.readline():
                pass
            assert left_behind(tmp_path)
            process.send_signal(signal.SIGINT)
            rest = await process.stdout.read()
            assert await process.wait() == 130
    assert b"interrupted" in rest
    assert left_behind(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


async def test_a_part_that_cannot_start_is_named_with_its_log(tmp_path: Path) -> None:
    broken = tmp_path / "sitecustomize.py"
    broken.write_text(
        "import sys\nif 'epp.testing.engine' in ' '.join(sys.orig_argv):\n    sys.exit('no engines today')\n"
    )
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "epp", "demo", "--once"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )
    raw, _ = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 1
    assert b"engines exited with status 1" in raw
    assert b"no engines today" in raw
