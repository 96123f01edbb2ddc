"""The watched file, one look at a time."""

import os
from pathlib import Path

import pytest

from epp.core.endpoints import PoolSnapshot
from epp.discovery.file import RESOLVE_AGAIN_S, FileDiscovery
from epp.discovery.resolve import Resolver

ONE = "endpoints: [{name: a, address: 10.0.0.1, port: 8000}]"
TWO = "endpoints: [{name: a, address: 10.0.0.1, port: 8000}, {name: b, address: 10.0.0.2, port: 8000}]"
NAMED = "endpoints: [{name: a, address: node-a, port: 8000}, {name: b, address: node-b, port: 8000}]"


class Counts:
    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.failures: list[str] = []

    def published(self, endpoints: int) -> None:
        self.sizes.append(endpoints)

    def failed(self, reason: str) -> None:
        self.failures.append(reason)


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "endpoints.yaml"


@pytest.fixture
def counts() -> Counts:
    return Counts()


@pytest.fixture
def discovery(path: Path, counts: Counts) -> FileDiscovery:
    return FileDiscovery(path, 1.0, counts)


def names(discovery: FileDiscovery) -> list[str]:
    return sorted(endpoint.name for endpoint in discovery.snapshot.endpoints)


async def test_subscribers_see_the_present_and_every_change(path: Path, discovery: FileDiscovery) -> None:
    seen: list[PoolSnapshot] = []
    unsubscribe = discovery.subscribe(seen.append)
    path.write_text(ONE)
    await discovery.refresh()
    await discovery.refresh()
    unsubscribe()
    path.write_text(TWO)
    await discovery.refresh()
    assert [len(snapshot.endpoints) for snapshot in seen] == [0, 1]
    assert [snapshot.generation for snapshot in seen] == [0, 1]
    assert names(discovery) == ["a", "b"]


async def test_a_broken_edit_keeps_the_last_good_set(
    path: Path, discovery: FileDiscovery, counts: Counts
) -> None:
    path.write_text(TWO)
    await discovery.refresh()
    path.write_text("endpoints: [{name: a}]")
    await discovery.refresh()
    await discovery.refresh()
    assert names(discovery) == ["a", "b"]
    assert discovery.problem is not None
    assert "address is missing" in discovery.problem
    assert counts.failures == ["format"]
    path.write_text(ONE)
    await discovery.refresh()
    assert (names(discovery), discovery.problem) == (["a"], None)


async def test_a_missing_file_is_a_problem_until_it_appears(path: Path, discovery: FileDiscovery) -> None:
    await discovery.refresh()
    assert discovery.problem is not None
    path.write_text(ONE)
    await discovery.refresh()
    assert (names(discovery), discovery.problem) == (["a"], None)
    path.unlink()
    await discovery.refresh()
    assert (names(discovery), discovery.problem is None) == (["a"], False)


async def test_atomic_renames_and_symlink_swaps_are_seen(
    tmp_path: Path, path: Path, discovery: FileDiscovery
) -> None:
    path.write_text(ONE)
    await discovery.refresh()
    staged = tmp_path / "staged"
    staged.write_text(TWO)
    staged.rename(path)
    await discovery.refresh()
    assert names(discovery) == ["a", "b"]
    target = tmp_path / "..data"
    target.write_text(ONE)
    link = tmp_path / "link"
    link.symlink_to(target)
    link.rename(path)
    await discovery.refresh()
    assert names(discovery) == ["a"]


async def test_an_edit_within_one_timestamp_and_size_is_seen(path: Path, discovery: FileDiscovery) -> None:
    path.write_text(ONE)
    before = path.stat()
    await discovery.refresh()
    path.write_text(ONE.replace("name: a", "name: z"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    await discovery.refresh()
    assert names(discovery) == ["z"]


async def test_a_touch_publishes_nothing(path: Path, discovery: FileDiscovery, counts: Counts) -> None:
    path.write_text(ONE)
    await discovery.refresh()
    os.utime(path, (1, 1))
    await discovery.refresh()
    assert counts.sizes == [1]


async def test_names_are_resolved_and_looked_up_again(path: Path, counts: Counts) -> None:
    table = {"node-a": "10.0.0.1"}

    async def lookup(name: str) -> str:
        if name not in table:
            raise OSError(name)
        return table[name]

    clock = Clock()
    discovery = FileDiscovery(path, 1.0, counts, resolver=Resolver(lookup), clock=clock)
    path.write_text(NAMED)
    await discovery.refresh()
    assert [e.host_port for e in discovery.snapshot.endpoints] == ["10.0.0.1:8000"]
    assert discovery.problem == "cannot be resolved: node-b"
    table.update({"node-a": "10.0.0.7", "node-b": "10.0.0.2"})
    await discovery.refresh()
    assert len(discovery.snapshot.endpoints) == 1
    clock.now_s = RESOLVE_AGAIN_S
    await discovery.refresh()
    assert sorted(e.host_port for e in discovery.snapshot.endpoints) == ["10.0.0.2:8000", "10.0.0.7:8000"]
    assert discovery.problem is None


async def test_two_names_of_one_address_are_a_problem(path: Path, counts: Counts) -> None:
    async def lookup(name: str) -> str:
        return "10.0.0.1"

    path.write_text(NAMED)
    discovery = FileDiscovery(path, 1.0, counts, resolver=Resolver(lookup))
    await discovery.refresh()
    assert discovery.problem is not None
    assert "same address" in discovery.problem
    assert discovery.snapshot.endpoints == ()
