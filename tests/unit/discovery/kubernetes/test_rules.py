"""Objectives and rewrites of one pool, as news of them comes; the API server is a table."""

import asyncio
import json
import logging
from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import Any

import msgspec
import pytest

from epp.core.poolrules import PoolRules
from epp.discovery.kubernetes.client import RefusedError
from epp.discovery.kubernetes.listing import Listing
from epp.discovery.kubernetes.pool import PoolReference
from epp.discovery.kubernetes.rules import MAX_OBJECTS, NamedObjects, RulesWatch
from epp.discovery.source import NullDiscoveryMetrics
from epp.wire.kubernetes.api import EventKind, Status
from epp.wire.kubernetes.objectives import Objective, PoolRef, read_objective

LLM_D = "/apis/llm-d.ai/v1alpha2/namespaces/ns/"
OLDER = "/apis/inference.networking.x-k8s.io/v1alpha2/namespaces/ns/"
HERE = Listing("/here")


def objective(name: str, /, priority: object = 1, **pool: str) -> dict[str, Any]:
    return {
        "metadata": {"name": name},
        "spec": {"poolRef": {"name": "pool", **pool}, "priority": priority},
    }


def raw(tree: dict[str, Any]) -> msgspec.Raw:
    return msgspec.Raw(json.dumps(tree).encode())


class Store:
    def __init__(self) -> None:
        self.changes = 0
        self.objects = NamedObjects[Objective](
            read_objective, lambda pool: pool.name == "pool", self._on_change
        )

    def _on_change(self) -> None:
        self.changes += 1

    def priorities(self) -> dict[str, int]:
        return {found.name: found.priority for found in self.objects}


async def test_changes_are_told_once() -> None:
    store = Store()
    await store.objects.replace(HERE, [raw(objective("a")), raw(objective("b", name="another-pool"))])
    store.objects.apply(EventKind.MODIFIED, raw(objective("a")))
    assert (store.priorities(), store.changes) == ({"a": 1}, 1)
    store.objects.apply(EventKind.MODIFIED, raw(objective("a", 5)))
    store.objects.apply(EventKind.ADDED, raw(objective("b", 2)))
    assert (store.priorities(), store.changes) == ({"a": 5, "b": 2}, 3)
    store.objects.apply(EventKind.MODIFIED, raw(objective("b", name="another-pool")))
    store.objects.apply(EventKind.DELETED, raw(objective("a", "gone")))
    assert (store.priorities(), store.changes) == ({}, 5)


async def test_what_cannot_be_read_leaves_what_was_known(caplog: pytest.LogCaptureFixture) -> None:
    store = Store()
    await store.objects.replace(HERE, [raw(objective("a")), msgspec.Raw(b"{}")])
    store.objects.apply(EventKind.MODIFIED, raw(objective("a", "high")))
    store.objects.apply(EventKind.DELETED, msgspec.Raw(b"[]"))
    await store.objects.replace(HERE, [raw(objective("a", "high")), raw(objective("b", "high"))])
    assert (store.priorities(), store.changes) == ({"a": 1}, 1)
    assert len([r for r in caplog.records if "cannot be used" in r.message]) == 5


async def test_there_is_a_bound(caplog: pytest.LogCaptureFixture) -> None:
    store = Store()
    await store.objects.replace(HERE, [raw(objective(f"o{i}")) for i in range(MAX_OBJECTS + 1)])
    assert len(store.priorities()) == MAX_OBJECTS
    assert f"o{MAX_OBJECTS} is left out" in caplog.text


class Table:
    """Lists what stands at a path; refuses every other; watches never end."""

    host = "api"

    def __init__(self) -> None:
        self.objects: dict[str, list[dict[str, Any]]] = {}
        self.refusal = 404
        self.asked: set[str] = set()

    async def get(self, target: str, timeout_s: float) -> bytes:
        path = target.partition("?")[0]
        self.asked.add(path)
        if path not in self.objects:
            raise RefusedError(self.refusal, Status("not for you"), 0.0)
        return json.dumps({"metadata": {"resourceVersion": "1"}, "items": self.objects[path]}).encode()

    async def lines(self, target: str, idle_s: float) -> AsyncGenerator[list[bytes], None]:
        yield []
        await asyncio.Event().wait()


async def followed(table: Table, reference: PoolReference) -> tuple[PoolRules, RulesWatch]:
    rules = PoolRules()
    watch = RulesWatch(table, reference, rules, NullDiscoveryMetrics())
    task = asyncio.create_task(watch.run())
    async with asyncio.timeout(60):
        while len(table.asked) < 4 or watch.problem is not None:
            await asyncio.sleep(0)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    return rules, watch


@pytest.mark.parametrize("status", [403, 404])
async def test_nothing_is_installed_or_allowed(status: int, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    table = Table()
    table.refusal = status
    rules, _ = await followed(table, PoolReference("ns", name="pool"))
    assert rules.priority_of("a") is None
    assert rules.rewrites.targets("m") is None
    assert len([r for r in caplog.records if "is not used: not for you" in r.message]) == 4


async def test_an_object_of_the_newer_group_goes_before_one_of_the_older() -> None:
    table = Table()
    table.objects[f"{OLDER}inferenceobjectives"] = [objective("a", 1), objective("b", 1)]
    table.objects[f"{LLM_D}inferenceobjectives"] = [objective("a", 2)]
    for group, target in ((OLDER, "older"), (LLM_D, "newer")):
        rule = {"targets": [{"modelRewrite": target}]}
        spec = {"poolRef": {"name": "pool"}, "rules": [rule]}
        table.objects[f"{group}inferencemodelrewrites"] = [{"metadata": {"name": "r"}, "spec": spec}]
    rules, _ = await followed(table, PoolReference("ns", name="pool"))
    assert rules.priorities == {"a": 2, "b": 1}
    targets = rules.rewrites.targets("m")
    assert targets is not None
    assert targets.models == ("newer",)


def test_which_pool_is_ours() -> None:
    def ours(reference: PoolReference, **fields: str) -> bool:
        watch = RulesWatch(Table(), reference, PoolRules(), NullDiscoveryMetrics())
        return watch.is_ours(PoolRef(**{"name": "pool", **fields}))

    default = PoolReference("ns", name="pool")
    assert ours(default)
    assert ours(default, group="inference.networking.x-k8s.io")
    assert not ours(default, name="other")
    assert not ours(default, kind="Service")
    assert not ours(default, group="example.com")
    assert ours(PoolReference("ns", name="pool", group="example.com"), group="example.com")
