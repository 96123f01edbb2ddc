"""Which pods a picker serves: an InferencePool as it is now, whichever version of it there is."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec

from epp.discovery.kubernetes.client import ApiClient
from epp.discovery.kubernetes.listing import Listing
from epp.discovery.kubernetes.reflector import LOOK_S, Reflector
from epp.discovery.source import DiscoveryMetrics
from epp.wire.kubernetes.api import ApiFormatError, EventKind, collection, is_object_name, parse_selector
from epp.wire.kubernetes.pools import GROUP_V1, GROUP_V1ALPHA2, PLURAL, Pool, make_pool, read_pool, version_of


@dataclass(frozen=True, slots=True)
class PoolReference:
    """Which pods: those of an InferencePool, or of a selector."""

    namespace: str
    name: str | None = None
    """Of the pool; None: there is a selector instead."""
    group: str = GROUP_V1
    """API group of the pool; for the default one, the older group is looked at as well."""
    selector: str | None = None
    target_ports: tuple[int, ...] = ()
    """With a selector: the ports its pods serve on."""
    kv_events_port: int | None = None
    """Where pods publish KV events that say nothing themselves; None: they do not."""
    look_s: float = LOOK_S
    """Pause between two looks for what is not there: the pool in another version, kinds not installed."""

    def __post_init__(self) -> None:
        """Raises ValueError for names that cannot be."""
        for text in (self.namespace, self.group, self.name):
            if text is not None and not is_object_name(text):
                raise ValueError(f"{text[:64]!r} is no name of a Kubernetes object")

    @property
    def label(self) -> str:
        """How messages call it."""
        if self.name is None:
            return f"pods {self.selector!r} of {self.namespace}"
        return f"InferencePool {self.namespace}/{self.name}"

    def without_api(self) -> Pool | None:
        """The pool made of the selector; None: it has to be asked for. Raises ValueError."""
        if self.selector is None:
            return None
        return make_pool(parse_selector(self.selector), self.target_ports)


class PoolWatch:
    """Follows one InferencePool."""

    def __init__(
        self,
        client: ApiClient,
        reference: PoolReference,
        on_change: Callable[[Pool | None], None],
        metrics: DiscoveryMetrics,
    ) -> None:
        """``on_change`` is called with the pool whenever it is read, None when there is none."""
        self._reference = reference
        self._on_change = on_change
        self._metrics = metrics
        groups = (GROUP_V1, GROUP_V1ALPHA2) if reference.group == GROUP_V1 else (reference.group,)
        self._groups = {_listing(reference, group): group for group in groups}
        self._group = reference.group
        self._wrong: str | None = None
        self._reflector = Reflector(client, tuple(self._groups), self, metrics, look_s=reference.look_s)

    @property
    def problem(self) -> str | None:
        """What is wrong with the API or the pool, in one sentence; None: nothing."""
        return self._reflector.problem or self._wrong

    async def run(self) -> None:
        """Follow it until cancelled."""
        await self._reflector.run()

    async def replace(self, listing: Listing, objects: Sequence[msgspec.Raw]) -> None:
        """See Sink."""
        self._group = self._groups[listing]
        if objects:
            self.apply(EventKind.ADDED, objects[0])
        else:
            self._drop("does not exist")

    def apply(self, kind: EventKind, data: msgspec.Raw) -> None:
        """See Sink."""
        if kind is EventKind.DELETED:
            self._drop("was deleted")
            return
        try:
            pool = read_pool(data, self._group)
        except ApiFormatError as error:
            self._metrics.failed("format")
            self._wrong = f"{self._reference.label} cannot be used: {error}"
            return
        self._wrong = None
        self._on_change(pool)

    def _drop(self, why: str) -> None:
        self._wrong = f"{self._reference.label} {why}"
        self._on_change(None)


def _listing(reference: PoolReference, group: str) -> Listing:
    path = collection(group, version_of(group), reference.namespace, PLURAL)
    return Listing(path, fields=f"metadata.name={reference.name}")
