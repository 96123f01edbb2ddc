"""Children that behave, and children that do not."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from epp.testing.process import ChildError, ChildProcess

READY = 'import sys, time; print(\'{"event": "ready", "port": 5}\', flush=True); '


def child(log: Path, program: str, **options: float) -> ChildProcess:
    return ChildProcess("child", [sys.executable, "-c", program], log / "child.log", **options)  # type: ignore[arg-type] -- seconds


def alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


async def test_a_ready_child_is_described_and_stopped(tmp_path: Path) -> None:
    async with child(tmp_path, READY + "time.sleep(60)") as running:
        assert running.ready["port"] == 5
        assert running.running
        pid = running.pid
    assert not alive(pid)


async def test_a_child_that_dies_before_it_is_ready_shows_its_last_words(tmp_path: Path) -> None:
    with pytest.raises(ChildError, match=r"(?s)status 3.*broken pipe dream"):
        async with child(tmp_path, "import sys; print('broken pipe dream', file=sys.stderr); sys.exit(3)"):
            raise AssertionError("unreachable")


async def test_a_silent_child_is_given_up_and_stopped(tmp_path: Path) -> None:
    silent = child(tmp_path, "print('hm', flush=True); import time; time.sleep(60)", ready_deadline_s=0.5)
    with pytest.raises(ChildError, match="not ready within"):
        async with silent:
            raise AssertionError("unreachable")
    assert not silent.running


async def test_a_child_that_ends_by_itself_is_noticed(tmp_path: Path) -> None:
    async with child(tmp_path, READY + "print('bye', file=sys.stderr); sys.exit(4)") as running:
        with pytest.raises(ChildError, match=r"(?s)status 4.*bye"):
            await running.failed()


async def test_a_child_deaf_to_sigterm_is_killed(tmp_path: Path) -> None:
    deaf = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + READY + "time.sleep(60)"
    async with child(tmp_path, deaf, stop_grace_s=0.2) as running:
        pid = running.pid
    assert not alive(pid)


async def test_ctrl_c_reaches_the_parent_alone(tmp_path: Path) -> None:
    async with child(tmp_path, READY + "time.sleep(60)") as running:
        assert os.getpgid(running.pid) != os.getpgid(0)


async def test_engines_as_a_process(tmp_path: Path) -> None:
    endpoints = tmp_path / "endpoints.yaml"
    flags = ["--engines", "2", "--max-model-len", "1000", "--endpoints-file", str(endpoints)]
    argv = [sys.executable, "-m", "epp.testing.engine", *flags]
    async with ChildProcess("engines", argv, tmp_path / "log") as engines:
        names = [engine["name"] for engine in engines.ready["engines"]]
        assert names == ["engine-0", "engine-1"]
        for engine in engines.ready["engines"]:
            assert f"'{engine['port']}'" in endpoints.read_text()
        os.kill(engines.pid, signal.SIGTERM)
        async with asyncio.timeout(60):
            with pytest.raises(ChildError, match="status 0"):
                await engines.failed()


async def test_engines_that_cannot_be_say_why(tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "epp.testing.engine", "--total-blocks", "2"]
    with pytest.raises(ChildError, match="total_blocks is too small"):
        async with ChildProcess("engines", argv, tmp_path / "log"):
            raise AssertionError("unreachable")
