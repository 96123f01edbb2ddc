"""``build_pipeline``: from configuration and parts to a row of segments, built from its end."""

from typing import Protocol, runtime_checkable

from epp.config.errors import ConfigError
from frontend.config.model import FrontendConfig
from frontend.orchestrate.segment import Orchestrator
from frontend.pipeline.call import Router, Segment
from frontend.pipeline.components import Components
from frontend.pipeline.knobs import Postprocess, Routing, knobs_of
from frontend.postprocess.segment import Postprocess as PostprocessSegment
from frontend.relay.forward import Forward
from frontend.relay.rename import Rename
from frontend.routing.direct import DirectRouter
from frontend.routing.discover import DiscoverRouter
from frontend.routing.query_only import QueryOnly
from frontend.routing.segment import RouteSegment
from frontend.serving.nvext_segment import NvExtSegment
from frontend.tolerance.migration import Migration
from frontend.tolerance.queue import WaitingQueue
from frontend.translate.segment import Translate

__all__ = ["Components", "FrontendConfig", "Pipeline", "build_pipeline"]


class Pipeline:
    """A row of segments."""

    def __init__(self, first: Segment, query: QueryOnly | None) -> None:
        self.first = first
        self.handle = first.handle
        """Serve one request: ``await handle(call, reply)``; raises what segments raise."""
        self.query = query
        """Answers ``POST /v1/route``; None: nobody chooses here."""

    @property
    def segments(self) -> tuple[str, ...]:
        """Names, in the order a request passes them."""
        return tuple(segment.name for segment in row(self.first))

    async def close(self) -> None:
        """End what segments still have under way of requests that were answered."""
        for segment in row(self.first):
            if isinstance(segment, _Closing):
                await segment.close()


@runtime_checkable
class _Closing(Protocol):
    async def close(self) -> None:
        """End what is under way."""
        ...


def build_pipeline(config: FrontendConfig, components: Components) -> Pipeline:
    """The pipeline ``config`` asks for; raises ConfigError for settings that contradict each other."""
    routing = knobs_of(config, components).routing
    if components.picker is None or routing is Routing.DIRECT:
        router = DirectRouter(components, config.disagg)
        return Pipeline(_outer(_served(config, components, router, retries=0), config, components), None)
    discover = DiscoverRouter(components.picker, config, components)
    below = None
    if routing is Routing.DISCOVER:
        below = _served(config, components, discover, retries=config.tolerance.retry_attempts)
    query = QueryOnly(below, discover, components)
    return Pipeline(Rename(_outer(query, config, components), components.restored), query)


def row(first: Segment) -> tuple[Segment, ...]:
    """``first`` and what follows it."""
    found: list[Segment] = []
    segment: Segment | None = first
    while segment is not None:
        found.append(segment)
        segment = getattr(segment, "next", None)
    return tuple(found)


def _served(config: FrontendConfig, components: Components, router: Router, *, retries: int) -> Segment:
    """From postprocessing down: what runs a request."""
    segment: Segment = Forward(config, components)
    segment = Orchestrator(segment, config.disagg, components, components.disagg)
    segment = RouteSegment(segment, router, retries=retries, retried=components.retried)
    segment = _tolerant(segment, config, components)
    if config.pipeline.postprocess == Postprocess.FRONTEND:
        segment = _postprocessed(segment, config, components)
    return segment


def _tolerant(segment: Segment, config: FrontendConfig, components: Components) -> Segment:
    """Migration and the queue, where they are wanted: both need a router that can choose again."""
    if config.tolerance.migration_limit:
        segment = Migration(
            segment,
            config.tolerance,
            components,
            window=components.context_window,
            counters=components.migration,
        )
    if config.tolerance.queue_max_requests:
        segment = WaitingQueue(segment, config, components.clock, components.queue, components.rules)
    return segment


def _postprocessed(segment: Segment, config: FrontendConfig, components: Components) -> Segment:
    try:
        return PostprocessSegment(segment, config, components)
    except ValueError as error:
        raise ConfigError(str(error)) from error


def _outer(segment: Segment, config: FrontendConfig, components: Components) -> Segment:
    """What changes requests and answers, whoever serves them."""
    if config.pipeline.nvext:
        segment = NvExtSegment(
            segment,
            components.tokenizer,
            components.clock,
            decode=components.decode,
            block_tokens=components.block_tokens,
        )
    return Translate(segment, config, components)
