"""Forks in an interpreter that the library started: by Python, by the host, by both at once."""

import platform
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.embedding.conftest import missing, run

HERE = Path(__file__).parent
HOST = """
import ctypes, os, signal, threading
host = ctypes.CDLL(None)
def waited(pid):
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
def fork_by_host():
    return host.fork_by_host(ctypes.c_uint64(picker))
def fork_by_python():
    pid = os.fork()
    if pid == 0:
        os._exit(host.live_as_child(ctypes.c_uint64(picker)))
    return waited(pid)
"""

A_POOL_OF_THREADS = """
import concurrent.futures.thread  # its hook takes a lock that cannot be taken twice
assert fork_by_python() == 0
"""

HOOKS = """
calls = []
os.register_at_fork(
    before=lambda: calls.append("before"),
    after_in_parent=lambda: calls.append("parent"),
    after_in_child=lambda: calls.append("child"),
)
pid = os.fork()
if pid == 0:
    os._exit(0 if calls == ["before", "child"] else 1)
assert waited(pid) == 0
assert calls == ["before", "parent"], calls
assert fork_by_host() == 0
assert calls == ["before", "parent"] * 2, calls
"""

WITHOUT_HOOKS = """
import subprocess
subprocess._USE_VFORK = False
subprocess.run(["true"], timeout=60, check=True)
subprocess.run(["true"], timeout=60, check=True, preexec_fn=int)
assert fork_by_host() == 0
"""

FORKS_ABOUND = """
failed = []
def often(fork):
    for _ in range(4):
        if fork() != 0:
            failed.append(fork)
threads = [threading.Thread(target=often, args=(fork,)) for fork in (fork_by_host, fork_by_python) * 2]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert not failed, failed
"""

WHILE_THE_HOST_FORKS = """
# The host's thread stands still in a hook, so it has the library's lock and not the interpreter.
stands, go_on, answers = threading.Event(), threading.Event(), []
def stand():
    if threading.current_thread() is hosts:
        stands.set()
        go_on.wait(60)
hosts = threading.Thread(target=lambda: answers.append(fork_by_host()))
os.register_at_fork(before=stand)
hosts.start()
assert stands.wait(60)
assert fork_by_python() == 0
go_on.set()
hosts.join()
assert answers == [0], answers
"""

A_HOOK_THAT_FORKS = """
answers = []
def fork_once():
    if not answers:
        answers.append(None)
        answers[0] = fork_by_python()
os.register_at_fork(before=fork_once)
assert fork_by_host() == 0
assert answers == [0], answers
"""


@pytest.fixture(scope="module")
def host(compiled: Callable[..., Path]) -> Path:
    if not glibc():
        missing("only GNU's C library registers fork handlers by a function that a host can replace")
    return compiled(HERE / "forks.c", "-rdynamic", link=True)


def glibc() -> tuple[int, ...]:
    """The version of GNU's C library, () on another one."""
    name, version = platform.libc_ver()
    return tuple(map(int, re.findall(r"\d+", version)))[:2] if name == "glibc" else ()


def holds(host: Path, program: str, *options: str) -> None:
    done = run([host, HOST + program, *options])
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    "program", [A_POOL_OF_THREADS, HOOKS, WITHOUT_HOOKS], ids=["pool of threads", "hooks", "subprocess"]
)
def test_python_forks(host: Path, program: str) -> None:
    holds(host, program)


@pytest.mark.parametrize(
    "program",
    [FORKS_ABOUND, WHILE_THE_HOST_FORKS, A_HOOK_THAT_FORKS],
    ids=["often", "at once", "one in the other"],
)
def test_python_and_the_host_fork(host: Path, program: str) -> None:
    if glibc() < (2, 36):  # a fork keeps the others out while it runs the handlers
        missing("this C library serializes forks")
    holds(host, program)


def test_handlers_that_found_no_room_are_registered_later(host: Path) -> None:
    """And the interpreter is still the library's own."""
    holds(host, "assert fork_by_host() == 0\nassert fork_by_python() == 0\n", "refuse")
