"""What a pool's owners say of its requests, kept in step with watches: InferenceObjective and
InferenceModelRewrite, each in two API groups.

Nothing of this is needed: a kind that is not installed, or that the picker may not read, has no objects. What
cannot be read of an object leaves what was known of it.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Final, Generic, Protocol, TypeVar

import msgspec

from epp.core.poolrules import PoolRules
from epp.discovery.kubernetes.listing import Client, Listing
from epp.discovery.kubernetes.pool import PoolReference
from epp.discovery.kubernetes.reflector import Reflector, Sink
from epp.discovery.source import DiscoveryMetrics
from epp.wire.kubernetes.api import ApiFormatError, EventKind, collection, name_in
from epp.wire.kubernetes.objectives import (
    GROUPS,
    LLM_D,
    OBJECTIVES,
    REWRITES,
    VERSION,
    PoolRef,
    read_objective,
    read_rewrite,
    rewrites_of,
)
from epp.wire.kubernetes.pools import GROUP_V1, GROUP_V1ALPHA2

MAX_OBJECTS: Final = 1000
"""Of one kind in one group; more are left out, and said."""

_log = logging.getLogger(__name__)


class ForPool(Protocol):
    """An object that is for one pool."""

    @property
    def name(self) -> str:
        """Its own."""
        ...

    @property
    def pool(self) -> PoolRef:
        """Whose it is."""
        ...


T = TypeVar("T", bound=ForPool)


class NamedObjects(Generic[T]):
    """The objects of one kind and group that are for our pool, by name; fills the Sink seam."""

    def __init__(
        self,
        read: Callable[[msgspec.Raw], T],
        is_ours: Callable[[PoolRef], bool],
        on_change: Callable[[], None],
    ) -> None:
        self._read = read
        self._is_ours = is_ours
        self._on_change = on_change
        self._objects: dict[str, T] = {}

    def __iter__(self) -> Iterator[T]:
        """In no order."""
        return iter(self._objects.values())

    async def replace(self, listing: Listing, objects: Sequence[msgspec.Raw]) -> None:  # noqa: ARG002 -- there is one listing
        """See Sink."""
        before, self._objects = self._objects, {}
        for data in objects:
            self._take(data, before)
        if self._objects != before:
            self._on_change()

    def apply(self, kind: EventKind, data: msgspec.Raw) -> None:
        """See Sink."""
        before = dict(self._objects)
        if kind is EventKind.DELETED:
            self._forget(data)
        else:
            self._take(data, before)
        if self._objects != before:
            self._on_change()

    def _take(self, data: msgspec.Raw, before: dict[str, T]) -> None:
        """Keep the object; ``before``: what was known."""
        try:
            name = name_in(data)
            try:
                found = self._read(data)
            except ApiFormatError:
                if name in before:
                    self._objects[name] = before[name]
                raise
        except ApiFormatError as error:
            _log.warning("endpoints: an object that cannot be used: %s", error)
            return
        if not self._is_ours(found.pool):
            self._objects.pop(name, None)
        elif name in self._objects or len(self._objects) < MAX_OBJECTS:
            self._objects[name] = found
        else:
            _log.warning("endpoints: more than %d objects of a kind; %s is left out", MAX_OBJECTS, name)

    def _forget(self, data: msgspec.Raw) -> None:
        try:
            self._objects.pop(name_in(data), None)
        except ApiFormatError as error:
            _log.warning("endpoints: an object that cannot be used: %s", error)


class RulesWatch:
    """Fills a PoolRules with what is said of one pool."""

    def __init__(
        self, client: Client, reference: PoolReference, rules: PoolRules, metrics: DiscoveryMetrics
    ) -> None:
        self._reference = reference
        self._rules = rules
        self._objectives = tuple(
            NamedObjects(read_objective, self.is_ours, self._take_objectives) for _ in GROUPS
        )
        self._rewrites = tuple(NamedObjects(read_rewrite, self.is_ours, self._take_rewrites) for _ in GROUPS)
        kinds: tuple[tuple[str, tuple[Sink, ...]], ...] = (
            (OBJECTIVES, self._objectives),
            (REWRITES, self._rewrites),
        )
        self._reflectors = tuple(
            Reflector(
                client,
                (_listing(reference, group, plural),),
                sink,
                metrics,
                look_s=reference.look_s,
                optional=True,
            )
            for plural, sinks in kinds
            for group, sink in zip(GROUPS, sinks, strict=True)
        )

    @property
    def problem(self) -> str | None:
        """Why the rules may be old, in one sentence; None: they are not."""
        return next((r.problem for r in self._reflectors if r.problem is not None), None)

    async def run(self) -> None:
        """Follow them until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for reflector in self._reflectors:
                tasks.create_task(reflector.run(), name="kubernetes-rules")

    def is_ours(self, pool: PoolRef) -> bool:
        """Whether a reference means the pool that is served, in whichever of its versions. Some definitions
        of llm-d write their own group, which has no pools, into references that name none."""
        served = self._reference
        groups = {GROUP_V1, GROUP_V1ALPHA2, LLM_D} if served.group == GROUP_V1 else {served.group}
        return pool.name == served.name and pool.kind == "InferencePool" and pool.group in groups

    def _take_objectives(self) -> None:
        """Of two of one name that of the earlier group counts."""
        priorities = {found.name: found.priority for objects in self._objectives[::-1] for found in objects}
        self._rules.priorities = priorities
        _log.info("endpoints: the objectives are now %s", priorities)

    def _take_rewrites(self) -> None:
        """Of two of one name that of the earlier group counts."""
        by_name = {found.name: found for objects in self._rewrites[::-1] for found in objects}
        self._rules.rewrites = rewrites_of(by_name.values())
        _log.info("endpoints: models are now rewritten by %s", sorted(by_name) or "nothing")


def _listing(reference: PoolReference, group: str, plural: str) -> Listing:
    return Listing(collection(group, VERSION, reference.namespace, plural))
