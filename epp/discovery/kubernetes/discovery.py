"""Endpoints from the Kubernetes API: the pods that an InferencePool, or a selector alone, chooses.

Two watches: one on the pool, one on the pods with the pool's selector. A pool whose selector changes keeps
its pods until the list of the new ones is there; one that is deleted has none, until it is made again. While
the API cannot be reached the last known set stays, and ``problem``, a metric and one log line say so. Changes
that come together are published together.

No leader is elected: every replica reads the same API and writes nothing, so all of them serve.
"""

import asyncio
import logging
from collections.abc import Coroutine, Sequence
from typing import Any, Final

import msgspec

from epp.core.endpoints import PoolSnapshot
from epp.core.poolrules import PoolRules
from epp.discovery.kubernetes.access import Access
from epp.discovery.kubernetes.client import ApiClient
from epp.discovery.kubernetes.listing import Listing
from epp.discovery.kubernetes.pods import PodStore
from epp.discovery.kubernetes.pool import PoolReference, PoolWatch
from epp.discovery.kubernetes.reflector import Reflector
from epp.discovery.kubernetes.rules import RulesWatch
from epp.discovery.source import DiscoveryMetrics, Listener, NullDiscoveryMetrics, Publisher, Unsubscribe
from epp.wire.kubernetes.api import EventKind, collection
from epp.wire.kubernetes.pools import Pool

_PUBLISH_PAUSE_S: Final = 0.1
"""Between two snapshots: a rollout of two thousand pods is then a few dozen, not thousands."""
_PODS_AT_A_TIME: Final = 200
"""Of a list; each takes about 20 microseconds of the loop that also picks."""

_log = logging.getLogger(__name__)


class KubernetesDiscovery:
    """See the module's preface; fills the Discovery seam."""

    def __init__(
        self,
        reference: PoolReference,
        access: Access,
        metrics: DiscoveryMetrics | None = None,
        rules: PoolRules | None = None,
    ) -> None:
        """``rules`` are filled with what objectives and rewrites say of the pool; None: nobody reads them.
        Raises ValueError for a selector or ports that cannot be."""
        self._reference = reference
        self._client = ApiClient(access)
        self._metrics = metrics or NullDiscoveryMetrics()
        self._publisher = Publisher(self._metrics)
        self._pool = reference.without_api()
        self._pool_watch: PoolWatch | None = None
        if reference.name is not None:
            self._pool_watch = PoolWatch(self._client, reference, self._take_pool, self._metrics)
        self._rules_watch: RulesWatch | None = None
        if reference.name is not None and rules is not None:
            self._rules_watch = RulesWatch(self._client, reference, rules, self._metrics)
        self._pods_watch: Reflector | None = None
        self._listed: PodStore | None = None
        """What is published; None: no pods were listed, or there is no pool."""
        self._store: PodStore | None = None
        """What the watch fills; another one than is published until its list is whole. None: nothing yet."""
        self._selector_changed = asyncio.Event()
        self._dirty = asyncio.Event()
        self._told: str | None = None

    @property
    def snapshot(self) -> PoolSnapshot:
        """The pool now; empty until its pods are listed."""
        return self._publisher.snapshot

    @property
    def problem(self) -> str | None:
        """What is wrong with the API, the pool or a pod, in one sentence; None: nothing."""
        for watch in (self._pool_watch, self._pods_watch):
            if watch is not None and watch.problem is not None:
                return watch.problem
        if self._listed is None:
            return f"{self._reference.label}: not listed yet"
        outdated = None if self._rules_watch is None else self._rules_watch.problem
        return self._listed.problem or self._nobody(self._listed) or outdated

    def subscribe(self, listener: Listener) -> Unsubscribe:
        """See Discovery."""
        return self._publisher.subscribe(listener)

    async def run(self) -> None:
        """List and watch until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._publish_changes(), name="kubernetes-publish")
            tasks.create_task(self._follow_pods(), name="kubernetes-pods")
            if self._pool_watch is not None:
                tasks.create_task(self._pool_watch.run(), name="kubernetes-pool")
            if self._rules_watch is not None:
                tasks.create_task(self._rules_watch.run(), name="kubernetes-rules")

    async def replace(self, listing: Listing, objects: Sequence[msgspec.Raw]) -> None:  # noqa: ARG002 -- of pods there is one listing
        """All pods of the selector; see Sink."""
        if self._pool is None or self._selector_changed.is_set():
            return  # of a selector that no longer counts
        store = self._store = PodStore(self._pool.target_ports, self._reference.kv_events_port)
        for first in range(0, len(objects), _PODS_AT_A_TIME):
            store.add(objects[first : first + _PODS_AT_A_TIME])
            await asyncio.sleep(0)
        if self._store is store:
            self._listed = store
            self._dirty.set()

    def apply(self, kind: EventKind, data: msgspec.Raw) -> None:
        """One pod changed; see Sink."""
        if self._store is None:
            return  # of a selector that no longer counts
        self._store.apply(kind, data)
        self._dirty.set()

    def _take_pool(self, pool: Pool | None) -> None:
        before, self._pool = self._pool, pool
        if pool == before:
            return
        _log.info("endpoints: %s %s", self._reference.label, "is gone" if pool is None else f"is now {pool}")
        if pool is not None and before is not None and pool.selector == before.selector:
            if self._store is not None:
                self._store.use_ports(pool.target_ports)
                self._dirty.set()
            return
        self._store = None
        if pool is None:
            self._listed = None
            self._dirty.set()
        self._selector_changed.set()

    async def _follow_pods(self) -> None:
        while True:
            self._selector_changed.clear()
            if self._pool is None:
                self._pods_watch = None
                await self._selector_changed.wait()
                continue
            listing = Listing(collection("", "v1", self._reference.namespace, "pods"), self._pool.selector)
            self._pods_watch = Reflector(self._client, (listing,), self, self._metrics)
            await _until(self._selector_changed, self._pods_watch.run())

    async def _publish_changes(self) -> None:
        while True:
            await self._dirty.wait()
            self._dirty.clear()
            self._publish()
            await asyncio.sleep(_PUBLISH_PAUSE_S)

    def _publish(self) -> None:
        if self._listed is None:
            self._publisher.publish(())
            return
        try:
            self._publisher.publish(self._listed.endpoints())
        except ValueError:  # two pods, one address
            self._publisher.publish(self._listed.distinct_endpoints())
        problem = self._listed.problem
        if problem is not None and problem != self._told:
            self._metrics.failed("format")
            _log.warning("endpoints: %s", problem)
        self._told = problem

    def _nobody(self, listed: PodStore) -> str | None:
        """Why there is no endpoint, though everything is as it should be."""
        if self.snapshot.endpoints or self._pool is None:
            return None
        return (
            f"{self._reference.label} selects {listed.pods} pods ({self._pool.selector}), none of them Ready"
        )


async def _until(event: asyncio.Event, work: Coroutine[Any, Any, None]) -> None:
    """Work that is stopped by an event; raises what it raises."""
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(work)
        await event.wait()
        task.cancel()
